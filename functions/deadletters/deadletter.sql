-- name: keep
INSERT INTO dead_letters (id, kind, source, event_id, type, subject, destination, code, answer, attributes, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11)
ON CONFLICT DO NOTHING

-- name: list
SELECT * FROM dead_letters WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2

-- name: get
SELECT * FROM dead_letters WHERE id = $1
