-- The sums of the reports, kept by the drain, and bookings by what is known of them.

-- add_sale_days --
-- Add to what happened in sales on days.
INSERT INTO sale_days AS old (
    sale_id, day_ms, currency, created, confirmed, cancelled, expired, completed, authorized,
    captured, declined, refunded, captured_amount, returned_amount, pay_ms
)
SELECT *
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::numeric[],
    $14::numeric[], $15::numeric[]
)
ON CONFLICT (sale_id, day_ms, currency) DO UPDATE
SET
    created = old.created + excluded.created,
    confirmed = old.confirmed + excluded.confirmed,
    cancelled = old.cancelled + excluded.cancelled,
    expired = old.expired + excluded.expired,
    completed = old.completed + excluded.completed,
    authorized = old.authorized + excluded.authorized,
    captured = old.captured + excluded.captured,
    declined = old.declined + excluded.declined,
    refunded = old.refunded + excluded.refunded,
    captured_amount = old.captured_amount + excluded.captured_amount,
    returned_amount = old.returned_amount + excluded.returned_amount,
    pay_ms = old.pay_ms + excluded.pay_ms;

-- add_sale_steps --
-- Add to the course of sales.
INSERT INTO sale_steps AS old (sale_id, grain_ms, from_ms, sold, capacity)
SELECT *
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
ON CONFLICT (sale_id, grain_ms, from_ms) DO UPDATE
SET
    sold = old.sold + excluded.sold,
    capacity = old.capacity + excluded.capacity;

-- summary --
-- Sum up what happened in sales on days, by day or by sale or altogether, and by currency.
SELECT
    currency,
    CASE WHEN $4::text = 'day' THEN day_ms END AS row_day_ms,
    CASE WHEN $4::text = 'sale' THEN sale_id END AS row_sale_id,
    sum(created) AS created,
    sum(confirmed) AS confirmed,
    sum(cancelled) AS cancelled,
    sum(expired) AS expired,
    sum(completed) AS completed,
    sum(authorized) AS authorized,
    sum(captured) AS captured,
    sum(declined) AS declined,
    sum(refunded) AS refunded,
    sum(captured_amount) AS captured_amount,
    sum(returned_amount) AS returned_amount,
    sum(pay_ms) AS pay_ms
FROM sale_days
WHERE
    day_ms BETWEEN $1 AND $2
    AND ($3::text IS NULL OR sale_id = $3)
GROUP BY row_day_ms, row_sale_id, currency
ORDER BY row_day_ms, row_sale_id, currency
LIMIT $5;

-- sale_span --
-- Read when a sale first changed, first sold and last changed; no row where there is none.
SELECT
    (
        SELECT step.from_ms
        FROM sale_steps AS step
        WHERE step.sale_id = sales.sale_id AND step.grain_ms = $2
        ORDER BY step.from_ms
        LIMIT 1
    ) AS first_ms,
    (
        SELECT step.from_ms
        FROM sale_steps AS step
        WHERE step.sale_id = sales.sale_id AND step.grain_ms = $2 AND step.sold <> 0
        ORDER BY step.from_ms
        LIMIT 1
    ) AS first_sold_ms,
    (
        SELECT step.from_ms
        FROM sale_steps AS step
        WHERE step.sale_id = sales.sale_id AND step.grain_ms = $2
        ORDER BY step.from_ms DESC
        LIMIT 1
    ) AS last_ms
FROM sales
WHERE sales.sale_id = $1;

-- sale_steps_before --
-- Sum up the course of a sale before a time: whole hours, then what is left of the last one.
SELECT
    coalesce(sum(sold), 0) AS sold,
    coalesce(sum(capacity), 0) AS capacity
FROM sale_steps
WHERE
    sale_id = $1
    AND (
        (grain_ms = $2 AND from_ms < $3)
        OR (grain_ms = $4 AND from_ms >= $3 AND from_ms < $5)
    );

-- sale_steps --
-- Sum up the course of a sale from a time on and before another, in intervals.
SELECT
    from_ms - (from_ms - $3) % $5::bigint AS begin_ms,
    sum(sold) AS sold,
    sum(capacity) AS capacity
FROM sale_steps
WHERE sale_id = $1 AND grain_ms = $2 AND from_ms >= $3 AND from_ms < $4
GROUP BY begin_ms;

-- drained_ms --
-- Read when entries were last taken over.
SELECT (extract(EPOCH FROM coalesce(max(drained_at), now())) * 1000)::bigint AS drained_ms
FROM partitions;

-- found_by_email --
-- Read a page of the bookings whose contact has an e-mail of one of some hashes, newest first.
SELECT *
FROM whole_bookings
WHERE
    (created_ms, booking_id) < ($1, $2)
    AND booking_id = any(
        array(
            SELECT contacts.booking_id
            FROM contacts
            WHERE contacts.email_hash = any($4::bytea[])
        )
    )
ORDER BY created_ms DESC, booking_id DESC
LIMIT $3;

-- found_by_payment --
-- Read a page of the bookings of which an attempt to pay has an id of the gateway, newest first.
SELECT *
FROM whole_bookings
WHERE
    (created_ms, booking_id) < ($1, $2)
    AND booking_id = any(
        array(
            SELECT payments.booking_id
            FROM payments
            WHERE payments.authorization_id = $4 OR payments.capture_id = $4
        )
    )
ORDER BY created_ms DESC, booking_id DESC
LIMIT $3;

-- audit_sale_days --
-- Read what the reports have of the days of a partition's sales.
SELECT sale_days.*
FROM sale_days
INNER JOIN sales ON sale_days.sale_id = sales.sale_id
WHERE sales.partition = $1
ORDER BY sale_days.sale_id, sale_days.day_ms, sale_days.currency;

-- audit_sale_steps --
-- Sum up the courses of a partition's sales, each grain by itself.
SELECT
    sale_steps.sale_id,
    sale_steps.grain_ms,
    sum(sale_steps.sold)::bigint AS sold,
    sum(sale_steps.capacity)::bigint AS capacity
FROM sale_steps
INNER JOIN sales ON sale_steps.sale_id = sales.sale_id
WHERE sales.partition = $1
GROUP BY sale_steps.sale_id, sale_steps.grain_ms
ORDER BY sale_steps.sale_id, sale_steps.grain_ms;
