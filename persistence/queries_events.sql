-- What leaves the books: the outbox, and deliveries to the places that events go to.

-- try_lock --
-- Take the advisory lock until the end of the transaction, if nobody has it.
SELECT pg_try_advisory_xact_lock($1);

-- deal_out --
-- Take the oldest events out of the outbox and give each to the places that want it.
WITH taken AS (
    DELETE FROM outbox
    WHERE position = any(
        array(SELECT oldest.position FROM outbox AS oldest ORDER BY oldest.position LIMIT $1)
    )
    RETURNING *
),

streamed AS (
    INSERT INTO stream_queue (
        position, event_id, type, subject_sequence, partition, sequence
    )
    SELECT
        position,
        event_id,
        type,
        subject_sequence,
        partition,
        sequence
    FROM taken
    WHERE $2::boolean
),

places AS (
    SELECT
        endpoint_id AS destination,
        patterns,
        FALSE AS to_a_person
    FROM webhook_endpoints
    WHERE enabled
    UNION ALL
    SELECT
        channel AS destination,
        string_to_array(wanted, ' ') AS patterns,
        TRUE AS to_a_person
    FROM unnest($3::text[], $4::text[]) AS channels (channel, wanted)
),

dealt AS (
    INSERT INTO deliveries (
        destination, event_id, type, subject, subject_sequence, partition, sequence
    )
    SELECT
        places.destination,
        taken.event_id,
        taken.type,
        taken.subject,
        taken.subject_sequence,
        taken.partition,
        taken.sequence
    FROM taken
    INNER JOIN places ON taken.type LIKE any(places.patterns)
    WHERE
        NOT places.to_a_person
        OR EXISTS (SELECT 1 FROM contacts WHERE contacts.booking_id = taken.subject)
    ORDER BY taken.position
)

SELECT count(*) AS events
FROM taken;

-- take_for_stream --
-- Take the oldest events out of the stream's queue, with the entries that tell what they say.
WITH taken AS (
    DELETE FROM stream_queue
    WHERE position = any(
        array(SELECT oldest.position FROM stream_queue AS oldest ORDER BY oldest.position LIMIT $1)
    )
    RETURNING *
)

SELECT
    taken.event_id,
    taken.type,
    taken.subject_sequence,
    taken.partition,
    taken.sequence,
    journal.entry
FROM taken
LEFT JOIN journal
    ON taken.partition = journal.partition AND taken.sequence = journal.sequence
ORDER BY taken.position;

-- park_streamed --
-- Keep events that cannot be published, for an operator to look at.
INSERT INTO deliveries (
    destination, event_id, type, subject, subject_sequence, partition, sequence, state, attempts,
    ended_at, detail
)
SELECT
    $1 AS destination,
    event.event_id,
    event.type,
    coalesce(journal.booking_id, journal.sale_id, '') AS subject,
    event.subject_sequence,
    event.partition,
    event.sequence,
    'parked' AS state,
    1 AS attempts,
    now() AS ended_at,
    event.detail
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::integer[], $6::bigint[], $7::text[])
    AS event (event_id, type, subject_sequence, partition, sequence, detail)
LEFT JOIN journal
    ON event.partition = journal.partition AND event.sequence = journal.sequence;

-- claim_deliveries --
-- Lease what is due at some places, of each at most so many: of a subject only the first.
WITH picked AS (
    SELECT due.delivery_id
    FROM unnest($1::text[], $2::integer[]) AS wanted (destination, room)
    CROSS JOIN LATERAL ( -- noqa: ST05
        SELECT one.delivery_id
        FROM deliveries AS one
        WHERE
            one.destination = wanted.destination
            AND one.state = 'waiting'
            AND one.next_at <= now()
            AND (one.leased_until IS NULL OR one.leased_until < now())
            -- NOT EXISTS would be planned as a join with all that waits. The place is spelled so
            -- that no index but that by subject is tempting while there are no statistics.
            AND one.delivery_id = (
                SELECT min(earlier.delivery_id)
                FROM deliveries AS earlier
                WHERE
                    earlier.subject = one.subject
                    AND earlier.destination || '' = one.destination
                    AND earlier.state = 'waiting'
            )
        ORDER BY one.next_at, one.delivery_id
        LIMIT wanted.room
        FOR UPDATE SKIP LOCKED
    ) AS due
),

claimed AS (
    UPDATE deliveries
    SET
        leased_until = now() + make_interval(secs => $3::double precision),
        attempts = deliveries.attempts + 1,
        first_at = coalesce(deliveries.first_at, now())
    FROM picked
    WHERE deliveries.delivery_id = picked.delivery_id
    RETURNING deliveries.*
)

SELECT
    claimed.delivery_id,
    claimed.destination,
    claimed.event_id,
    claimed.type,
    claimed.subject,
    claimed.subject_sequence,
    claimed.attempts,
    claimed.partition,
    claimed.sequence,
    claimed.body,
    journal.entry,
    contacts.ciphertext,
    extract(EPOCH FROM now() - claimed.first_at)::double precision AS tried_s
FROM claimed
LEFT JOIN journal
    ON claimed.partition = journal.partition AND claimed.sequence = journal.sequence
LEFT JOIN contacts
    ON claimed.subject = contacts.booking_id AND claimed.destination = any($4::text[])
ORDER BY claimed.delivery_id;

-- finish_deliveries --
-- Note what became of deliveries; those that are to be tried again wait for some seconds.
UPDATE deliveries
SET
    state = told.state,
    ended_at = CASE WHEN told.state <> 'waiting' THEN now() END,
    next_at = now() + make_interval(secs => told.again_s),
    leased_until = NULL,
    status = told.status,
    detail = told.detail,
    excerpt = told.excerpt
FROM unnest(
    $1::bigint[], $2::text[], $3::double precision[], $4::integer[], $5::text[], $6::text[]
) AS told (delivery_id, state, again_s, status, detail, excerpt)
WHERE deliveries.delivery_id = told.delivery_id AND deliveries.state = 'waiting';

-- forget_deliveries --
-- Delete deliveries for which there is nobody to send to.
DELETE FROM deliveries
WHERE delivery_id = any($1::bigint[]);

-- hasten_deliveries --
-- Let what waits for some places be tried now: something has just arrived there.
UPDATE deliveries
SET next_at = now()
WHERE destination = any($1::text[]) AND state = 'waiting' AND next_at > now();

-- prune_deliveries --
-- Delete some of the deliveries that ended long ago: arrived, or parked.
DELETE FROM deliveries
WHERE delivery_id = any(
    array(
        SELECT old.delivery_id
        FROM deliveries AS old
        WHERE
            old.state <> 'waiting'
            AND old.ended_at < now() - make_interval(
                secs => CASE
                    WHEN old.state = 'parked' THEN $2::double precision
                    ELSE $1::double precision
                END
            )
        ORDER BY old.ended_at
        LIMIT $3
    )
);

-- sale_names --
-- Read how a sale and its items are called.
SELECT
    sales.name AS sale_name,
    items.item_id,
    items.name AS item_name
FROM sales
LEFT JOIN items ON sales.sale_id = items.sale_id
WHERE sales.sale_id = $1;

-- waiting_deliveries --
-- Count what waits by place, with the age of the oldest in seconds; what is parked, too.
SELECT
    destination,
    state,
    count(*) AS deliveries,
    extract(EPOCH FROM now() - min(dealt_at))::double precision AS oldest_s
FROM deliveries
WHERE state IN ('waiting', 'parked')
GROUP BY destination, state;

-- outbox_age --
-- Tell how old the oldest event is that was not dealt out, in seconds; null where there is none.
SELECT
    extract(EPOCH FROM now())::double precision - journal.at_ms / 1000.0::double precision AS age_s
FROM outbox
INNER JOIN journal
    ON outbox.partition = journal.partition AND outbox.sequence = journal.sequence
ORDER BY outbox.position
LIMIT 1;

-- live_endpoints --
-- Read the webhook endpoints that are sent to.
SELECT
    endpoint_id,
    url,
    secret,
    CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret,
    extract(EPOCH FROM now() - failing_since)::double precision AS failing_s
FROM webhook_endpoints
WHERE enabled;

-- endpoint_fails --
-- Note since when deliveries to endpoints fail.
UPDATE webhook_endpoints
SET failing_since = now()
WHERE endpoint_id = any($1::text[]) AND failing_since IS NULL;

-- endpoint_answers --
-- Note that endpoints take deliveries again.
UPDATE webhook_endpoints
SET failing_since = NULL
WHERE endpoint_id = any($1::text[]) AND failing_since IS NOT NULL;

-- disable_endpoint --
-- Stop sending to an endpoint, for a reason; no row where that was so before.
UPDATE webhook_endpoints
SET enabled = FALSE, disabled_at = now(), disabled_reason = $2, updated_at = now()
WHERE endpoint_id = $1 AND enabled
RETURNING endpoint_id;

-- park_waiting --
-- Give up what waits for a place.
UPDATE deliveries
SET state = 'parked', ended_at = now(), leased_until = NULL, detail = $2
WHERE destination = $1 AND state = 'waiting';

-- park_strays --
-- Give up what waits for places that are webhook endpoints no more: nobody would take it.
UPDATE deliveries
SET
    state = 'parked',
    ended_at = now(),
    leased_until = NULL,
    detail = 'the endpoint is disabled or deleted'
WHERE
    state = 'waiting'
    AND destination = any($1::text[])
    AND NOT EXISTS (
        SELECT 1
        FROM webhook_endpoints
        WHERE webhook_endpoints.endpoint_id = deliveries.destination AND webhook_endpoints.enabled
    );

-- insert_endpoint --
-- Add a webhook endpoint, unless there are as many as there may be.
INSERT INTO webhook_endpoints (endpoint_id, url, events, patterns, secret)
SELECT
    $1 AS endpoint_id,
    $2 AS url,
    $3::text[] AS events,
    $4::text[] AS patterns,
    $5 AS secret
WHERE (SELECT count(*) FROM webhook_endpoints) < $6
RETURNING *;

-- endpoint --
-- Read a webhook endpoint.
SELECT *
FROM webhook_endpoints
WHERE endpoint_id = $1;

-- endpoints --
-- Read all webhook endpoints, the oldest first.
SELECT *
FROM webhook_endpoints
ORDER BY created_at, endpoint_id;

-- change_endpoint --
-- Change what is given of a webhook endpoint; a new secret leaves the one before for some seconds.
UPDATE webhook_endpoints
SET
    url = coalesce($2, url),
    events = coalesce($3::text[], events),
    patterns = coalesce($4::text[], patterns),
    enabled = coalesce($5::boolean, enabled),
    disabled_at = CASE
        WHEN $5::boolean THEN NULL
        WHEN enabled AND NOT $5::boolean THEN now()
        ELSE disabled_at
    END,
    disabled_reason = CASE
        WHEN $5::boolean THEN NULL
        WHEN enabled AND NOT $5::boolean THEN 'admin'
        ELSE disabled_reason
    END,
    failing_since = CASE WHEN $5::boolean THEN NULL ELSE failing_since END,
    secret = coalesce($6::bytea, secret),
    old_secret = CASE WHEN $6::bytea IS NULL THEN old_secret ELSE secret END,
    old_secret_until = CASE
        WHEN $6::bytea IS NULL THEN old_secret_until
        ELSE now() + make_interval(secs => $7::double precision)
    END,
    updated_at = now()
WHERE endpoint_id = $1
RETURNING *;

-- delete_endpoint --
-- Delete a webhook endpoint.
DELETE FROM webhook_endpoints
WHERE endpoint_id = $1
RETURNING endpoint_id;

-- delete_deliveries --
-- Delete the deliveries of a place.
DELETE FROM deliveries
WHERE destination = $1;

-- delivery_log --
-- Read a page of deliveries, newest first: of one place or all, in one state or all.
SELECT *
FROM deliveries
WHERE
    delivery_id < $1
    AND ($2::text IS NULL OR destination = $2)
    AND ($3::text IS NULL OR state = $3)
ORDER BY delivery_id DESC
LIMIT $4;

-- deliver_again --
-- Put an event at the end of its place's queue once more; no row where it waits already.
INSERT INTO deliveries (
    destination, event_id, type, subject, subject_sequence, partition, sequence, body
)
SELECT
    destination,
    event_id,
    type,
    subject,
    subject_sequence,
    partition,
    sequence,
    body
FROM deliveries
WHERE delivery_id = $1 AND destination = coalesce($2, destination) AND state <> 'waiting'
RETURNING *;

-- retry_parked --
-- Let the oldest of what is parked at a place be tried anew, before what waits there.
UPDATE deliveries
SET
    state = 'waiting',
    attempts = 0,
    first_at = NULL,
    next_at = now(),
    ended_at = NULL
WHERE delivery_id = any(
    array(
        SELECT parked.delivery_id
        FROM deliveries AS parked
        WHERE parked.destination = $1 AND parked.state = 'parked'
        ORDER BY parked.delivery_id
        LIMIT $2
    )
);

-- delivery --
-- Read a delivery, of one place or any.
SELECT *
FROM deliveries
WHERE delivery_id = $1 AND destination = coalesce($2, destination);

-- insert_test_delivery --
-- Put an event that no entry tells into a place's queue.
INSERT INTO deliveries (destination, event_id, type, subject, subject_sequence, body)
VALUES ($1, $2, $3, $4, 1, $5)
RETURNING *;
