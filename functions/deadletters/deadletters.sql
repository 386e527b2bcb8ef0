-- name: keep
INSERT INTO dead_letters (id, kind, source, event_id, type, subject, destination, code, answer, attributes, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11)
ON CONFLICT DO NOTHING

-- name: redriven_as
SELECT id, state FROM dead_letters WHERE redrive_id = $1 FOR UPDATE

-- name: same
SELECT id, state FROM dead_letters WHERE source = $1 AND event_id = $2 AND destination = $3 FOR UPDATE

-- name: add_attempt
INSERT INTO dead_letter_attempts AS known (letter_id, round, number, at, destination, code, answer)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (letter_id, round, number) DO UPDATE SET code = excluded.code, answer = excluded.answer
WHERE known.code LIKE '2%' AND excluded.code NOT LIKE '2%'

-- name: failed_again
UPDATE dead_letters
SET code = $2, answer = $3, version = version + 1, state = CASE state WHEN 'redriven' THEN 'kept' ELSE state END
WHERE id = $1

-- name: list
SELECT *, (
    SELECT coalesce(sum(made), 0)::integer
    FROM (SELECT max(number) AS made FROM dead_letter_attempts WHERE letter_id = dead_letters.id GROUP BY round) AS rounds
) AS attempts_made
FROM dead_letters
WHERE ($1::uuid IS NULL OR id < $1)
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR subject = $3)
  AND ($4::text IS NULL OR destination = $4 OR split_part(split_part(destination, '://', 2), '.', 1) = $4)
  AND ($5::text IS NULL OR state = $5)
  AND ($6::timestamptz IS NULL OR received_at >= $6)
ORDER BY id DESC
LIMIT $7

-- name: next
SELECT id FROM dead_letters
WHERE ($1::uuid IS NULL OR id > $1)
  AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR subject = $3)
  AND ($4::text IS NULL OR destination = $4 OR split_part(split_part(destination, '://', 2), '.', 1) = $4)
  AND ($5::timestamptz IS NULL OR received_at >= $5)
  AND received_at < $6
  AND state = 'kept'
ORDER BY id
LIMIT $7

-- name: get
SELECT *, (
    SELECT coalesce(sum(made), 0)::integer
    FROM (SELECT max(number) AS made FROM dead_letter_attempts WHERE letter_id = dead_letters.id GROUP BY round) AS rounds
) AS attempts_made
FROM dead_letters WHERE id = $1

-- name: lock
SELECT 1 FROM dead_letters WHERE id = $1 FOR UPDATE

-- name: attempts
SELECT at, number, destination, code, answer FROM dead_letter_attempts WHERE letter_id = $1 ORDER BY at, number

-- name: changes
SELECT at, what, who, why, before, after FROM dead_letter_changes WHERE letter_id = $1 ORDER BY seq

-- name: add_change
INSERT INTO dead_letter_changes (letter_id, what, who, why, before, after) VALUES ($1, $2, $3, $4, $5, $6)

-- name: edit
UPDATE dead_letters SET edited_attributes = $2::jsonb, edited_data = $3, version = $4 WHERE id = $1

-- name: discard
UPDATE dead_letters SET state = 'discarded', version = version + 1 WHERE id = $1

-- name: begin_redrive
UPDATE dead_letters
SET redrive_id = $2, redriving_until = clock_timestamp() + $3::interval, version = version + 1
WHERE id = $1

-- name: end_redrive
UPDATE dead_letters
SET state = CASE WHEN $2 THEN 'redriven' ELSE state END,
    code = CASE WHEN $2 THEN code ELSE $3 END,
    answer = CASE WHEN $2 THEN answer ELSE $4 END,
    redriving_until = NULL,
    version = version + 1
WHERE id = $1
