-- migrate:up
CREATE TABLE idempotency (
    -- Never the key alone: one caller must not be given another's answer.
    subject text NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    -- SHA-256 of the validated request: the same key with another request is a mistake of the caller.
    fingerprint bytea NOT NULL,
    status integer,
    headers jsonb,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subject, operation, key)
);
CREATE INDEX idempotency_created_at ON idempotency (created_at);

-- migrate:down
DROP TABLE idempotency;
