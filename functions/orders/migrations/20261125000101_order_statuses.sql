-- migrate:up
-- Every status that an order came to, so that whoever watches sees each, also those that passed between two looks.
CREATE TABLE order_statuses (
    order_id uuid NOT NULL REFERENCES orders ON DELETE CASCADE,
    -- 1, 2, 3: counted under the order's lock, so that what has a higher one was committed later.
    place integer NOT NULL,
    status text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (order_id, place)
);

-- Not by the functions: those of the last release, which still run while this one is rolled out, know nothing of it;
-- nor does somebody who mends an order by hand.
CREATE FUNCTION remember_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO order_statuses
        SELECT NEW.id, count(*) + 1, NEW.status, NEW.updated_at FROM order_statuses WHERE order_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_remember_first_status AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION remember_status();
CREATE TRIGGER orders_remember_status AFTER UPDATE OF status ON orders
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION remember_status();

-- Each save was a move: of two, the first was the placing; of three, the second can only have been the confirming,
-- whose time nobody wrote down.
INSERT INTO order_statuses SELECT id, 1, 'placed', created_at FROM orders;
INSERT INTO order_statuses SELECT id, 2, 'confirmed', updated_at FROM orders WHERE version > 2;
INSERT INTO order_statuses SELECT id, least(version, 3), status, updated_at FROM orders WHERE version > 1;

-- migrate:down
DROP TRIGGER orders_remember_status ON orders;
DROP TRIGGER orders_remember_first_status ON orders;
DROP FUNCTION remember_status;
DROP TABLE order_statuses;
