-- name: wait_briefly
SET LOCAL lock_timeout = '2s'

-- name: claim
INSERT INTO idempotency (subject, operation, key, fingerprint) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

-- name: answer
SELECT fingerprint, status, headers, body FROM idempotency WHERE subject = $1 AND operation = $2 AND key = $3

-- name: keep
UPDATE idempotency SET status = $4, headers = $5::jsonb, body = $6
WHERE subject = $1 AND operation = $2 AND key = $3

-- name: sweep
DELETE FROM idempotency WHERE created_at < clock_timestamp() - $1::interval

-- name: is_there
SELECT to_regclass('idempotency') IS NOT NULL
