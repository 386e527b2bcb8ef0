-- name: insert
INSERT INTO users (username, email, password_hash) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING *

-- name: get
SELECT * FROM users WHERE username = $1 AND deactivated_at IS NULL

-- name: find_all
SELECT * FROM users WHERE username = ANY ($1::text[]) AND deactivated_at IS NULL

-- name: lock
SELECT * FROM users WHERE username = $1 AND deactivated_at IS NULL FOR UPDATE

-- name: save
UPDATE users SET email = $3, password_hash = $4, version = $2 + 1, updated_at = clock_timestamp()
WHERE username = $1 AND version = $2
RETURNING *

-- name: rehash
UPDATE users SET password_hash = $3 WHERE username = $1 AND password_hash = $2

-- name: deactivate
UPDATE users SET deactivated_at = clock_timestamp(), version = version + 1 WHERE username = $1

-- name: list
SELECT * FROM users
WHERE deactivated_at IS NULL AND ($1::text IS NULL OR username > $1)
ORDER BY username
LIMIT $2

-- name: seed_admin
INSERT INTO users (username, email, password_hash, role) VALUES ($1, $2, $3, 'admin')
ON CONFLICT (username) DO UPDATE SET password_hash = $3, role = 'admin', deactivated_at = NULL
