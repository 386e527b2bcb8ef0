-- migrate:up
-- Double entry: each transfer's entries add up to nothing, and what was written stays written. Balances are derived.
CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES payments,
    kind text NOT NULL CHECK (kind IN ('capture', 'refund')),
    -- Under which key the processor did it: booked once.
    key text NOT NULL UNIQUE,
    reason text,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE entries (
    transfer uuid NOT NULL REFERENCES transfers,
    order_id uuid NOT NULL REFERENCES payments,
    account text NOT NULL CHECK (account IN ('processor', 'sales')),
    minor bigint NOT NULL CHECK (minor <> 0),
    currency char(3) NOT NULL,
    PRIMARY KEY (transfer, account)
);
CREATE INDEX entries_order_id ON entries (order_id);

CREATE FUNCTION balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) <> 2 OR sum(minor) <> 0 OR count(DISTINCT currency) <> 1 FROM entries WHERE transfer = NEW.transfer) THEN
        RAISE EXCEPTION 'transfer % does not balance', NEW.transfer USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER entries_balanced AFTER INSERT ON entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION balanced();

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

INSERT INTO transfers (id, order_id, kind, key, reason, at)
    SELECT gen_random_uuid(), order_id, 'capture', order_id::text, NULL, updated_at FROM payments WHERE captured_minor > 0;
INSERT INTO transfers (id, order_id, kind, key, reason, at)
    SELECT gen_random_uuid(), order_id, 'refund', 'refund:' || order_id, reason, updated_at
    FROM payments WHERE refunded_minor > 0;
INSERT INTO entries
    SELECT t.id, t.order_id, side.account, side.sign * CASE t.kind WHEN 'capture' THEN p.captured_minor ELSE -p.refunded_minor END, p.currency
    FROM transfers t JOIN payments p USING (order_id), (VALUES ('processor', 1), ('sales', -1)) AS side (account, sign);

-- Money to be given back; the key is what the processor is asked under, and the caller's own key is kept beside it.
CREATE TABLE refunds (
    key text PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES payments,
    minor bigint NOT NULL CHECK (minor > 0),
    reason text NOT NULL,
    done boolean NOT NULL DEFAULT false,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX refunds_order_id ON refunds (order_id);
CREATE INDEX refunds_due ON refunds (due_at) WHERE NOT done;
INSERT INTO refunds (key, order_id, minor, reason, done)
    SELECT 'refund:' || order_id, order_id, refunded_minor, coalesce(reason, 'the order was cancelled'), true
    FROM payments WHERE refunded_minor > 0;

DO $$
DECLARE one text;
BEGIN
    FOR one IN SELECT conname FROM pg_constraint WHERE conrelid = 'payments'::regclass AND contype = 'c'
        AND (pg_get_constraintdef(oid) LIKE '%state%' OR pg_get_constraintdef(oid) LIKE '%captured_minor%')
    LOOP
        EXECUTE format('ALTER TABLE payments DROP CONSTRAINT %I', one);
    END LOOP;
END $$;
ALTER TABLE payments
    DROP COLUMN captured_minor,
    DROP COLUMN refunded_minor,
    -- Why the order will not be had: what is captured for it all the same is given back.
    ADD COLUMN undone_reason text,
    -- When to ask the processor what became of it, where that is open.
    ADD COLUMN due_at timestamptz,
    ADD CONSTRAINT payments_state CHECK (state IN ('initiated', 'authorised', 'pending', 'unknown', 'captured',
        'partly-refunded', 'refunded', 'declined', 'expired', 'voided'));
UPDATE payments SET undone_reason = 'the order was cancelled' WHERE state IN ('voided', 'refunded');
UPDATE payments SET due_at = clock_timestamp() WHERE state IN ('initiated', 'unknown');
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;
ALTER TABLE payment_attempts DROP CONSTRAINT payment_attempts_what_check;

-- migrate:down
-- The ledger is not taken back.
