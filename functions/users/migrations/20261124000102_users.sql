-- migrate:up
CREATE TABLE users (
    username text PRIMARY KEY,
    -- Not unique: saying that an address is taken would tell who has an account here.
    email text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'admin')),
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A name is never given to somebody else: what it signed stays its own.
    deactivated_at timestamptz
);

-- migrate:down
DROP TABLE users;
