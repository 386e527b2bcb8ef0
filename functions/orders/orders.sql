-- name: insert
INSERT INTO orders (id, username, amount_minor, currency, payment_token, status, version, created_at, updated_at)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::integer[],
    $8::timestamptz[], $9::timestamptz[]
)

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

-- name: statuses
SELECT * FROM order_statuses WHERE order_id = $1 ORDER BY place

-- name: news
SELECT now.* FROM unnest($1::uuid[], $2::integer[]) AS seen (id, place)
JOIN order_statuses AS now ON now.order_id = seen.id AND now.place > seen.place
ORDER BY now.order_id, now.place
