-- name: claim
INSERT INTO inbox (consumer, source, id, content) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING

-- name: content
SELECT content FROM inbox WHERE consumer = $1 AND source = $2 AND id = $3

-- name: sweep
DELETE FROM inbox WHERE handled_at < $1
