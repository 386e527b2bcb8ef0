-- name: outbox
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest_seconds
FROM (SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY seq LIMIT 100000) AS unpublished

-- name: orders
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest_seconds
FROM (SELECT created_at FROM orders WHERE status = 'placed' ORDER BY created_at LIMIT 100000) AS placed

-- name: payments
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest_seconds
FROM (SELECT created_at FROM payments WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 100000) AS open

-- name: refunds
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS oldest_seconds
FROM (SELECT created_at FROM refunds WHERE NOT done ORDER BY due_at LIMIT 100000) AS undone

-- name: letters
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0) AS oldest_seconds
FROM (SELECT received_at FROM dead_letters WHERE state = 'kept' ORDER BY id LIMIT 100000) AS kept

-- name: connections
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
    current_setting('max_connections')::integer AS most
