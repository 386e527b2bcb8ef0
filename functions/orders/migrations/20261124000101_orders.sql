-- migrate:up
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency char(3) NOT NULL,
    payment_token text NOT NULL,
    status text NOT NULL CHECK (status IN ('placed', 'confirmed', 'rejected', 'cancelled', 'expired')),
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
-- An order's id is a UUIDv7: the order of ids is the order of placing.
CREATE INDEX orders_username ON orders (username, id);

-- migrate:down
DROP TABLE orders;
