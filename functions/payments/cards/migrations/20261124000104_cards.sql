-- migrate:up
-- The simulated card processor's own books: what it did, whatever anybody believes.
CREATE TABLE charges (
    key text PRIMARY KEY,
    amount text NOT NULL,
    currency text NOT NULL,
    token text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('captured', 'declined')),
    reason text,
    calls integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE refunds (
    key text PRIMARY KEY,
    charge text NOT NULL REFERENCES charges,
    amount text NOT NULL,
    currency text NOT NULL,
    calls integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- migrate:down
DROP TABLE refunds;
DROP TABLE charges;
