-- name: authorise
INSERT INTO charges (key, amount, currency, token, outcome, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key) DO UPDATE SET calls = charges.calls + 1
RETURNING *

-- name: lock_charge
SELECT * FROM charges WHERE key = $1 FOR UPDATE

-- name: get_charge
SELECT * FROM charges WHERE key = $1

-- name: list
SELECT *, (SELECT coalesce(sum(amount::numeric), 0) FROM refunds WHERE charge = charges.key)::text AS refunded
FROM charges WHERE key > $1 ORDER BY key LIMIT $2

-- name: set_outcome
UPDATE charges SET outcome = $2, reason = $3, captures_at = clock_timestamp() + $4::interval WHERE key = $1 RETURNING *

-- name: count_capture
UPDATE charges SET captures = captures + 1 WHERE key = $1 RETURNING captures

-- name: ripen
UPDATE charges SET outcome = 'captured' WHERE key = $1 AND outcome = 'pending' AND captures_at <= clock_timestamp()

-- name: refunded
SELECT coalesce(sum(amount::numeric), 0)::text FROM refunds WHERE charge = $1

-- name: get_refund
SELECT * FROM refunds WHERE key = $1

-- name: refund
INSERT INTO refunds (key, charge, amount, currency) VALUES ($1, $2, $3, $4)

-- name: add_webhook
INSERT INTO webhooks (id, charge, due_at, signed) VALUES ($1, $2, clock_timestamp() + $3::interval, $4)

-- name: webhooks_waiting
SELECT id, charge, signed, extract(epoch FROM due_at - clock_timestamp())::float8 AS seconds
FROM webhooks WHERE sent_at IS NULL ORDER BY due_at LIMIT 1000

-- name: webhook_sent
UPDATE webhooks SET sent_at = clock_timestamp() WHERE id = $1
