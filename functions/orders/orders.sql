-- name: insert
INSERT INTO orders (id, username, amount_minor, currency, payment_token, status, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: get
SELECT * FROM orders WHERE id = $1

-- name: lock
SELECT * FROM orders WHERE id = $1 FOR UPDATE

-- name: save
UPDATE orders SET status = $3, version = $2 + 1, updated_at = $4 WHERE id = $1 AND version = $2

-- name: overdue
SELECT * FROM orders WHERE status = 'placed' AND created_at <= clock_timestamp() - $1::interval
ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: list
SELECT * FROM orders
WHERE ($1::text IS NULL OR username = $1) AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
