-- What the journal amounts to: sales, items with their levels, bookings, and every change of stock.
-- Only the drain writes here, in the transaction that moves the partition's cursor.

CREATE TABLE sales (
    sale_id text COLLATE "C" PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    opens_ms bigint NOT NULL,
    closes_ms bigint NOT NULL,
    hold_ms bigint NOT NULL,
    max_units_per_customer bigint NOT NULL,
    currency text NOT NULL,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL
);

CREATE TABLE items (
    sale_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    position integer,
    name text,
    unit_price bigint,
    max_per_booking bigint,
    available bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    sold bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (sale_id, item_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE items IS
'Levels are sums of deltas and nothing else; the levels in entries are only compared with them.';
COMMENT ON COLUMN items.position IS
'Place in the sale''s definition, from 0; null where the definition does not have it.';

CREATE TABLE bookings (
    booking_id text COLLATE "C" PRIMARY KEY,
    partition integer NOT NULL,
    sequence bigint NOT NULL,
    version bigint NOT NULL,
    sale_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    status text NOT NULL CHECK (status IN ('PENDING', 'CONFIRMED', 'COMPLETED', 'CANCELLED')),
    cancel_reason text CHECK (
        cancel_reason IN ('expired', 'customer', 'payment_failed', 'operator')
    ),
    amount bigint NOT NULL,
    currency text NOT NULL,
    hold_expires_ms bigint NOT NULL,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    extended boolean NOT NULL,
    CHECK ((status = 'CANCELLED') = (cancel_reason IS NOT NULL))
) WITH (fillfactor = 80);
COMMENT ON TABLE bookings IS
'Each booking as of its last entry. No index covers a column that changes, and pages keep room: '
'a change of status is an update in place.';

CREATE INDEX bookings_customer ON bookings (customer_id, created_ms, booking_id);
CREATE INDEX bookings_sale ON bookings (sale_id, created_ms, booking_id);
CREATE INDEX bookings_created ON bookings (created_ms, booking_id);

CREATE TABLE lines (
    booking_id text COLLATE "C" NOT NULL,
    position smallint NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    quantity bigint NOT NULL,
    unit_price bigint NOT NULL,
    PRIMARY KEY (booking_id, position)
);

CREATE VIEW whole_bookings AS
SELECT
    booking.*,
    (
        SELECT
            string_agg(
                line.item_id || ':' || line.quantity || ':' || line.unit_price,
                ',' ORDER BY line.position
            )
        FROM lines AS line
        WHERE line.booking_id = booking.booking_id
    ) AS lines
FROM bookings AS booking;
COMMENT ON VIEW whole_bookings IS
'Bookings with their lines spelled as entries spell them: item:quantity:unit_price,…';

CREATE TABLE contacts (
    booking_id text COLLATE "C" PRIMARY KEY,
    ciphertext bytea NOT NULL
);
COMMENT ON TABLE contacts IS
'Personal data, encrypted, apart from everything else so that it can be forgotten.';

CREATE TABLE stock_history (
    sale_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    partition integer NOT NULL,
    at_ms bigint NOT NULL,
    type text NOT NULL,
    booking_id text COLLATE "C",
    delta_available bigint NOT NULL,
    delta_held bigint NOT NULL,
    delta_sold bigint NOT NULL,
    level_available bigint NOT NULL,
    level_held bigint NOT NULL,
    level_sold bigint NOT NULL,
    PRIMARY KEY (sale_id, item_id, sequence)
);
COMMENT ON TABLE stock_history IS
'Every change of an item''s levels, with the levels after it as the entry had them.';
