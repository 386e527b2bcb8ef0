-- migrate:up
CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    id text NOT NULL,
    -- The event as it is sent, every time it is sent: its attributes, and its data's bytes.
    attributes jsonb NOT NULL,
    data bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    PRIMARY KEY (source, id)
);
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published_at ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    -- SHA-256 of type, subject and data: the same id with other content is another event that lies.
    content bytea NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, source, id)
);

-- migrate:down
DROP TABLE inbox;
DROP TABLE outbox;
