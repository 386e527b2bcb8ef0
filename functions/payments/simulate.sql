-- name: charge
INSERT INTO charges (key, amount, currency, token, outcome, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key) DO UPDATE SET calls = charges.calls + 1
RETURNING *

-- name: get_charge
SELECT * FROM charges WHERE key = $1

-- name: refund
INSERT INTO refunds (key, charge, amount, currency) VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE SET calls = refunds.calls + 1
RETURNING *
