-- name: applied
SELECT FROM schema_migrations WHERE version = ANY ('{:versions}')

-- name: missing
SELECT wanted AS version
FROM unnest($1::text[]) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM schema_migrations WHERE schema_migrations.version = wanted)
ORDER BY wanted
