-- name: begin
INSERT INTO payments (order_id, username, amount_minor, currency, payment_token, state, due_at)
VALUES ($1, $2, $3, $4, $5, 'initiated', clock_timestamp() + $6::interval)
ON CONFLICT DO NOTHING

-- name: lock
SELECT 1 FROM payments WHERE order_id = $1 FOR UPDATE

-- name: get
SELECT p.*,
    (SELECT coalesce(sum(minor), 0) FROM entries e WHERE e.order_id = p.order_id AND account = 'processor' AND minor > 0)::bigint
        AS captured_minor,
    (SELECT coalesce(-sum(minor), 0) FROM entries e WHERE e.order_id = p.order_id AND account = 'processor' AND minor < 0)::bigint
        AS refunded_minor,
    (SELECT coalesce(sum(minor), 0) FROM refunds r WHERE r.order_id = p.order_id)::bigint AS refunding_minor
FROM payments p WHERE p.order_id = $1

-- name: save
UPDATE payments SET state = $2, reason = $3, due_at = clock_timestamp() + $4::interval, updated_at = clock_timestamp()
WHERE order_id = $1

-- name: undo
UPDATE payments SET undone_reason = coalesce(undone_reason, $2), due_at = clock_timestamp() + $3::interval
WHERE order_id = $1

-- name: due
UPDATE payments SET due_at = clock_timestamp() + $1::interval
WHERE order_id IN (
    -- Processors forget a key after a day: what is still open then is for people (`wake check-books` lists it).
    SELECT order_id FROM payments WHERE due_at <= clock_timestamp() AND created_at > clock_timestamp() - interval '23 hours'
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING order_id

-- name: add_attempt
INSERT INTO payment_attempts (order_id, what, outcome, reason) VALUES ($1, $2, $3, $4)

-- name: attempts
SELECT what, outcome, reason, at FROM payment_attempts WHERE order_id = $1 ORDER BY id

-- name: add_transfer
INSERT INTO transfers (id, order_id, kind, key, reason) VALUES ($1, $2, $3, $4, $5)

-- name: add_entries
INSERT INTO entries (transfer, order_id, account, minor, currency)
VALUES ($1, $2, 'processor', $3, $4), ($1, $2, 'sales', -$3::bigint, $4)

-- name: ask_refund
INSERT INTO refunds (key, order_id, minor, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: refunds_of
SELECT key, minor, reason, done FROM refunds WHERE order_id = $1 ORDER BY created_at, key

-- name: refund
SELECT key, minor, reason, done FROM refunds WHERE key = $1

-- name: refund_done
UPDATE refunds SET done = true WHERE key = $1 AND NOT done

-- name: refunds_due
UPDATE refunds SET due_at = clock_timestamp() + $1::interval
WHERE key IN (
    SELECT key FROM refunds WHERE NOT done AND due_at <= clock_timestamp() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING order_id
