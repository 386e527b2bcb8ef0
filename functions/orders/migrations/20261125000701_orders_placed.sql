-- migrate:up transaction:false
-- Who looks for orders that are not paid yet (orders-expire, backlog-measure) reads these alone, however many have ended.
CREATE INDEX CONCURRENTLY orders_placed ON orders (created_at) WHERE status = 'placed';

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY IF EXISTS orders_placed;
