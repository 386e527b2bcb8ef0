-- name: wait
SELECT set_config('lock_timeout', $1, true)

-- name: claim
INSERT INTO idempotency (subject, operation, key, fingerprint)
SELECT $1, $2, key, fingerprint FROM unnest($3::text[], $4::bytea[]) AS one (key, fingerprint) ORDER BY key
ON CONFLICT DO NOTHING
RETURNING key

-- name: answers
SELECT key, fingerprint, status, headers, body FROM idempotency
WHERE subject = $1 AND operation = $2 AND key = ANY ($3::text[])

-- name: keep
UPDATE idempotency AS kept SET status = one.status, headers = one.headers, body = one.body
FROM unnest($3::text[], $4::integer[], $5::jsonb[], $6::bytea[]) AS one (key, status, headers, body)
WHERE kept.subject = $1 AND kept.operation = $2 AND kept.key = one.key

-- name: sweep
DELETE FROM idempotency WHERE created_at < clock_timestamp() - $1::interval

-- name: is_there
SELECT to_regclass('idempotency') IS NOT NULL
