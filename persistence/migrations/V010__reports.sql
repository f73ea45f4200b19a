-- Sums for the reports, so that none of them reads a million bookings. Only the drain writes here,
-- in the transaction that moves the partition's cursor; `persistence.rollups` says what counts.

CREATE TABLE sale_days (
    sale_id text COLLATE "C" NOT NULL,
    day_ms bigint NOT NULL,
    currency text NOT NULL,
    created bigint NOT NULL,
    confirmed bigint NOT NULL,
    cancelled bigint NOT NULL,
    expired bigint NOT NULL,
    completed bigint NOT NULL,
    authorized bigint NOT NULL,
    captured bigint NOT NULL,
    declined bigint NOT NULL,
    refunded bigint NOT NULL,
    captured_amount numeric NOT NULL,
    returned_amount numeric NOT NULL,
    pay_ms numeric NOT NULL,
    PRIMARY KEY (sale_id, day_ms, currency)
) WITH (fillfactor = 50);
COMMENT ON TABLE sale_days IS
'What happened in a sale on a UTC day: entries counted by the day they were written.';
COMMENT ON COLUMN sale_days.returned_amount IS
'Of captured amounts, what is given back: from the moment that is decided.';
COMMENT ON COLUMN sale_days.pay_ms IS
'From hold to capture, summed over the captured.';

CREATE INDEX sale_days_day ON sale_days (day_ms);

CREATE TABLE sale_steps (
    sale_id text COLLATE "C" NOT NULL,
    grain_ms bigint NOT NULL,
    from_ms bigint NOT NULL,
    sold bigint NOT NULL,
    capacity bigint NOT NULL,
    PRIMARY KEY (sale_id, grain_ms, from_ms)
) WITH (fillfactor = 50);
COMMENT ON TABLE sale_steps IS
'The course of a sale: by how much units sold and capacity changed in each step of time.';

-- What was taken over before there were these tables, counted as `persistence.rollups` counts.
INSERT INTO sale_days
SELECT
    told.sale_id,
    told.day_ms,
    told.currency,
    count(*) FILTER (WHERE told.type = 'held') AS created,
    count(*) FILTER (
        WHERE told.type = 'captured' OR (told.type = 'confirmed' AND told.amount = 0)
    ) AS confirmed,
    count(*) FILTER (
        WHERE told.type = 'cancelled' OR (told.type = 'refund_begun' AND told.moves)
    ) AS cancelled,
    count(*) FILTER (WHERE told.type = 'expired') AS expired,
    count(*) FILTER (WHERE told.type = 'completed') AS completed,
    count(*) FILTER (
        WHERE told.type = 'late_money' OR (told.type = 'confirmed' AND told.amount > 0)
    ) AS authorized,
    count(*) FILTER (WHERE told.type = 'captured') AS captured,
    count(*) FILTER (WHERE told.type = 'payment_failed') AS declined,
    count(*) FILTER (WHERE told.type = 'refunded') AS refunded,
    coalesce(sum(told.amount) FILTER (WHERE told.type = 'captured'), 0) AS captured_amount,
    coalesce(
        sum(told.amount) FILTER (
            WHERE (told.type = 'cancelled' AND told.payment_status = 'REFUNDING')
            OR (told.type = 'refund_begun' AND (told.moves OR told.status = 'COMPLETED'))
        ),
        0
    ) AS returned_amount,
    coalesce(sum(told.at_ms - told.created_ms) FILTER (WHERE told.type = 'captured'), 0) AS pay_ms
FROM (
    SELECT
        journal.type,
        journal.sale_id,
        journal.at_ms,
        journal.at_ms - journal.at_ms % 86400000 AS day_ms,
        fields.entry ->> 'currency' AS currency,
        fields.entry ->> 'status' AS status,
        fields.entry #>> '{payment,status}' AS payment_status,
        fields.entry ->> 'deltas' <> '' AS moves,
        (fields.entry ->> 'amount')::numeric AS amount,
        (fields.entry ->> 'created_ms')::numeric AS created_ms
    FROM journal
    LEFT JOIN quarantine
        ON journal.partition = quarantine.partition AND journal.sequence = quarantine.sequence
    -- What could not be read is in quarantine, and must not be read here either.
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN quarantine.sequence IS NULL THEN convert_from(journal.entry, 'UTF8')::jsonb
            END AS entry
    ) AS fields
    WHERE
        quarantine.sequence IS NULL
        AND (
            journal.type IN (
                'held', 'late_money', 'captured', 'payment_failed', 'completed', 'cancelled',
                'expired', 'refunded', 'confirmed'
            )
            OR (
                journal.type = 'refund_begun'
                AND (
                    fields.entry ->> 'deltas' <> '' OR fields.entry ->> 'status' = 'COMPLETED'
                )
            )
        )
) AS told
GROUP BY told.sale_id, told.day_ms, told.currency;

INSERT INTO sale_steps
SELECT
    moved.sale_id,
    grains.grain_ms,
    moved.at_ms - moved.at_ms % grains.grain_ms AS from_ms,
    sum(moved.sold) AS sold,
    sum(moved.capacity) AS capacity
FROM (
    SELECT
        sale_id,
        at_ms,
        sum(delta_sold)::bigint AS sold,
        sum(delta_available + delta_held + delta_sold)::bigint AS capacity
    FROM stock_history
    GROUP BY sale_id, sequence, at_ms
) AS moved
CROSS JOIN (VALUES (10000::bigint), (3600000::bigint)) AS grains (grain_ms)
WHERE moved.sold <> 0 OR moved.capacity <> 0
GROUP BY moved.sale_id, grains.grain_ms, from_ms;
