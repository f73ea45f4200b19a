-- Holds that end soon: whether their customers were told.

ALTER TABLE bookings ADD COLUMN warned boolean NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN bookings.warned IS
'Whether its customer was told that the hold ends soon.';

-- The columns that the view had stay where they were: PostgreSQL wants it so.
CREATE OR REPLACE VIEW whole_bookings AS
SELECT -- noqa: ST06
    booking.booking_id,
    booking.partition,
    booking.sequence,
    booking.version,
    booking.sale_id,
    booking.customer_id,
    booking.status,
    booking.cancel_reason,
    booking.amount,
    booking.currency,
    booking.hold_expires_ms,
    booking.created_ms,
    booking.updated_ms,
    booking.extended,
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
    payment.next_action AS payment_next_action,
    booking.warned
FROM bookings AS booking
LEFT JOIN LATERAL (
    SELECT latest.*
    FROM payments AS latest
    WHERE latest.booking_id = booking.booking_id
    ORDER BY latest.attempt DESC
    LIMIT 1
) AS payment ON TRUE;
