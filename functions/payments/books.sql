-- name: unbalanced
SELECT transfer, sum(minor)::bigint AS sum FROM entries GROUP BY transfer HAVING sum(minor) <> 0 OR count(*) <> 2

-- name: payments
SELECT p.order_id, p.amount_minor, p.currency, p.state, p.undone_reason,
    p.updated_at > clock_timestamp() - $1::interval AS young,
    coalesce(sum(e.minor) FILTER (WHERE e.minor > 0), 0)::bigint AS captured,
    coalesce(-sum(e.minor) FILTER (WHERE e.minor < 0), 0)::bigint AS refunded,
    count(e.minor) FILTER (WHERE e.minor > 0) AS captures,
    (SELECT count(*) FROM refunds r WHERE r.order_id = p.order_id AND NOT done) AS undone
FROM payments p LEFT JOIN entries e ON e.order_id = p.order_id AND e.account = 'processor'
GROUP BY p.order_id

-- name: orders
SELECT id, status, amount_minor, currency, updated_at > clock_timestamp() - $1::interval AS young FROM orders

-- name: unsent
SELECT id FROM outbox WHERE published_at IS NULL AND created_at <= clock_timestamp() - $1::interval
