-- What was asked of payment gateways: each attempt to pay for a booking, as of the booking's last
-- entry while it was the latest attempt.

CREATE TABLE payments (
    booking_id text COLLATE "C" NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    version bigint NOT NULL,
    status text NOT NULL CHECK (
        status IN (
            'AUTHORIZING', 'REQUIRES_ACTION', 'AUTHORIZED', 'CAPTURING', 'CAPTURED', 'DECLINED',
            'VOIDED', 'REFUNDING', 'REFUNDED', 'UNKNOWN'
        )
    ),
    step text NOT NULL CHECK (step IN ('authorize', 'capture', 'void', 'refund', 'none')),
    step_ms bigint,
    gateway text NOT NULL,
    method text NOT NULL,
    return_url text,
    key text NOT NULL,
    fingerprint text NOT NULL,
    amount bigint NOT NULL,
    currency text NOT NULL,
    begun_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    authorization_id text COLLATE "C",
    capture_id text COLLATE "C",
    decline_code text,
    next_action json,
    PRIMARY KEY (booking_id, attempt),
    CHECK ((step = 'none') = (step_ms IS NULL))
) WITH (fillfactor = 70);
COMMENT ON TABLE payments IS
'The payment of a booking is its latest attempt; those before it were declined.';
COMMENT ON COLUMN payments.version IS
'The booking''s, as of the entry that made the row what it is.';
COMMENT ON COLUMN payments.step_ms IS
'Since when the gateway is asked for this step; null where nothing is asked.';

CREATE INDEX payments_authorization ON payments (authorization_id)
WHERE authorization_id IS NOT NULL;
CREATE INDEX payments_open ON payments (step_ms, booking_id)
WHERE step_ms IS NOT NULL;
COMMENT ON INDEX payments_open IS
'Few at any time: each leaves it when its payment rests.';

-- The columns that the view had stay where they were: PostgreSQL wants it so.
CREATE OR REPLACE VIEW whole_bookings AS
SELECT -- noqa: ST06
    booking.*,
    (
        SELECT
            string_agg(
                line.item_id || ':' || line.quantity || ':' || line.unit_price,
                ',' ORDER BY line.position
            )
        FROM lines AS line
        WHERE line.booking_id = booking.booking_id
    ) AS lines,
    payment.attempt AS payment_attempt,
    payment.status AS payment_status,
    payment.step AS payment_step,
    payment.gateway AS payment_gateway,
    payment.method AS payment_method,
    payment.return_url AS payment_return_url,
    payment.key AS payment_key,
    payment.fingerprint AS payment_fingerprint,
    payment.begun_ms AS payment_begun_ms,
    payment.authorization_id AS payment_authorization_id,
    payment.capture_id AS payment_capture_id,
    payment.decline_code AS payment_decline_code,
    payment.next_action AS payment_next_action
FROM bookings AS booking
LEFT JOIN LATERAL (
    SELECT latest.*
    FROM payments AS latest
    WHERE latest.booking_id = booking.booking_id
    ORDER BY latest.attempt DESC
    LIMIT 1
) AS payment ON TRUE;
COMMENT ON VIEW whole_bookings IS
'Bookings with their lines spelled as entries spell them, item:quantity:unit_price,…, and with '
'their latest payment, its columns named as Redis names them.';
