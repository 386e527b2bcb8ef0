-- migrate:up
CREATE TABLE payments (
    order_id uuid PRIMARY KEY,
    username text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency char(3) NOT NULL,
    -- Missing where the order was cancelled before it was charged: then it never will be.
    payment_token text,
    state text NOT NULL CHECK (state IN ('initiated', 'unknown', 'captured', 'declined', 'voided', 'refunded')),
    reason text,
    captured_minor bigint NOT NULL DEFAULT 0 CHECK (captured_minor IN (0, amount_minor)),
    refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state IN ('captured', 'refunded')) = (captured_minor > 0))
);

-- Each time the card processor was asked, and what it said.
CREATE TABLE payment_attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES payments,
    what text NOT NULL CHECK (what IN ('capture', 'refund')),
    outcome text NOT NULL,
    reason text,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX payment_attempts_order_id ON payment_attempts (order_id, id);

-- migrate:down
DROP TABLE payment_attempts;
DROP TABLE payments;
