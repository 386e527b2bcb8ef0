-- name: begin
INSERT INTO payments (order_id, username, amount_minor, currency, payment_token, state)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

-- name: lock
SELECT * FROM payments WHERE order_id = $1 FOR UPDATE

-- name: get
SELECT * FROM payments WHERE order_id = $1

-- name: save
UPDATE payments SET state = $2, reason = $3, captured_minor = $4, refunded_minor = $5, updated_at = clock_timestamp()
WHERE order_id = $1

-- name: add_attempt
INSERT INTO payment_attempts (order_id, what, outcome, reason) VALUES ($1, $2, $3, $4)

-- name: attempts
SELECT what, outcome, reason, at FROM payment_attempts WHERE order_id = $1 ORDER BY id
