-- migrate:up
ALTER TABLE charges DROP CONSTRAINT charges_outcome_check;
ALTER TABLE charges
    ADD CONSTRAINT charges_outcome_check
        CHECK (outcome IN ('authorised', 'pending', 'captured', 'declined', 'voided', 'expired')),
    -- How often it was asked to capture; it does so once.
    ADD COLUMN captures integer NOT NULL DEFAULT 0,
    -- When a pending one is captured.
    ADD COLUMN captures_at timestamptz;
CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    charge text NOT NULL,
    due_at timestamptz NOT NULL,
    signed boolean NOT NULL,
    sent_at timestamptz
);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE sent_at IS NULL;

-- migrate:down
DROP TABLE webhooks;
ALTER TABLE charges DROP COLUMN captures, DROP COLUMN captures_at;
