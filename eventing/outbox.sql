-- name: add
INSERT INTO outbox (source, id, attributes, data)
SELECT source, id, attributes, data
FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::bytea[]) WITH ORDINALITY AS one (source, id, attributes, data, place)
ORDER BY place

-- name: mark_published
UPDATE outbox SET published_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
WHERE published_at IS NULL AND (source, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))

-- name: mark_failed
UPDATE outbox SET attempts = attempts + 1, last_error = $3
WHERE published_at IS NULL AND source = $1 AND id = $2

-- name: take_unpublished
SELECT attributes, data FROM outbox
WHERE published_at IS NULL AND created_at <= clock_timestamp() - $2::interval
ORDER BY seq
LIMIT $1
FOR UPDATE SKIP LOCKED

-- name: waits
SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL AND created_at > clock_timestamp() - $1::interval)

-- name: published_since
SELECT seq, attributes, data FROM outbox
WHERE published_at >= $1 AND seq > $2
ORDER BY seq
LIMIT $3

-- name: published
SELECT seq, attributes, data FROM outbox
WHERE published_at >= $1 AND published_at < $2
  AND ($3::text IS NULL OR attributes ->> 'type' = $3)
  AND ($4::text IS NULL OR attributes ->> 'subject' = $4)
  AND seq > $5
ORDER BY seq
LIMIT $6

-- name: behind
SELECT count(*) > $2 FROM (
  SELECT FROM outbox WHERE published_at IS NULL AND created_at <= clock_timestamp() - $1::interval LIMIT $2 + 1
) AS waiting

-- name: sweep
DELETE FROM outbox WHERE published_at < $1
