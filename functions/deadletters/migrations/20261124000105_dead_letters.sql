-- migrate:up
CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('undeliverable', 'refused')),
    source text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    subject text,
    -- Where it could not be delivered, the answer's code there, and the start of that answer.
    destination text NOT NULL DEFAULT '',
    code text,
    answer text,
    attributes jsonb NOT NULL,
    data bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (source, event_id, destination)
);

-- migrate:down
DROP TABLE dead_letters;
