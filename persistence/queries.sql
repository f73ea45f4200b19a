-- Every query of this room: a name, one sentence, the query. `persistence.queries` reads it; a test
-- prepares each against a migrated database and checks that each is used.

-- lock --
-- Wait for the advisory lock of what only one host may do at a time; it ends with the transaction.
SELECT pg_advisory_xact_lock($1);

-- migrations --
-- Read which migrations were applied.
SELECT
    installed_rank,
    version,
    type,
    script,
    checksum,
    success
FROM flyway_schema_history
ORDER BY installed_rank;

-- insert_migration --
-- Record that a migration was applied.
INSERT INTO flyway_schema_history (
    installed_rank, version, description, type, script, checksum, installed_by, execution_time,
    success
)
VALUES ($1, $2, $3, 'SQL', $4, $5, current_user, $6, TRUE);

-- insert_installation --
-- Record with how many partitions and which hash function this installation begins.
INSERT INTO installation (partitions, hash_function)
VALUES ($1, $2)
ON CONFLICT DO NOTHING;

-- installation --
-- Read what the installation was set up with.
SELECT
    partitions,
    hash_function
FROM installation;

-- insert_partitions --
-- Create the rows of partitions 0 to $1 - 1 that are not there yet.
INSERT INTO partitions (partition, generation)
SELECT
    number AS partition,
    1 AS generation
FROM generate_series(0, $1::integer - 1) AS number
ON CONFLICT DO NOTHING;

-- partitions --
-- Read where every partition stands and whether Redis ever had it.
SELECT
    partition,
    generation,
    sequence,
    initialised_at IS NOT NULL AS initialised
FROM partitions
ORDER BY partition;

-- lock_uninitialised --
-- Lock a partition that Redis never had; no row where it had.
SELECT partition
FROM partitions
WHERE partition = $1 AND initialised_at IS NULL
FOR UPDATE;

-- mark_initialised --
-- Note that Redis has a partition from now on.
UPDATE partitions
SET initialised_at = now()
WHERE partition = $1;

-- position --
-- Read a partition's cursor and chain, and the entry at the cursor if it is still kept.
SELECT
    partitions.generation,
    partitions.sequence,
    partitions.chain,
    partitions.bytes,
    journal.entry
FROM partitions
LEFT JOIN journal
    ON partitions.partition = journal.partition AND partitions.sequence = journal.sequence
WHERE partitions.partition = $1 AND partitions.initialised_at IS NOT NULL;

-- advance --
-- Move a partition's cursor, unless somebody else did or does so at this moment.
UPDATE partitions
SET sequence = $5, chain = $6, bytes = $7, drained_at = now()
WHERE partition = (
    SELECT mine.partition
    FROM partitions AS mine
    WHERE mine.partition = $1 AND mine.generation = $2 AND mine.sequence = $3 AND mine.chain = $4
    FOR UPDATE SKIP LOCKED
)
RETURNING partition;

-- booking_versions --
-- Read versions of bookings and how many public events each has had; null for discarded entries.
SELECT
    booking_id,
    version,
    events
FROM bookings
WHERE booking_id = any($1::text[])
UNION ALL
SELECT
    booking_id,
    version,
    NULL AS events
FROM quarantine
WHERE booking_id = any($1::text[]) AND version IS NOT NULL AND discarded_at IS NOT NULL;

-- change_bookings --
-- Bring bookings to what newer entries say of them.
UPDATE bookings
SET
    sequence = new.sequence,
    version = new.version,
    status = new.status,
    cancel_reason = new.cancel_reason,
    hold_expires_ms = new.hold_expires_ms,
    updated_ms = new.updated_ms,
    extended = new.extended,
    events = new.events,
    warned = new.warned
FROM unnest(
    $1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::boolean[], $9::bigint[], $10::boolean[]
) AS new (
    booking_id, sequence, version, status, cancel_reason, hold_expires_ms, updated_ms, extended,
    events, warned
)
WHERE bookings.booking_id = new.booking_id AND new.version > bookings.version;

-- upsert_payments --
-- Bring attempts to pay to what newer entries say of them.
INSERT INTO payments AS old (
    booking_id, attempt, version, status, step, step_ms, gateway, method, return_url, key,
    fingerprint, amount, currency, begun_ms, updated_ms, authorization_id, capture_id,
    decline_code, next_action
)
SELECT *
FROM unnest(
    $1::text[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bigint[],
    $15::bigint[], $16::text[], $17::text[], $18::text[], $19::json[]
)
ON CONFLICT (booking_id, attempt) DO UPDATE
SET
    version = excluded.version,
    status = excluded.status,
    step = excluded.step,
    step_ms = CASE
        WHEN old.step = excluded.step THEN old.step_ms
        ELSE excluded.step_ms
    END,
    updated_ms = excluded.updated_ms,
    authorization_id = excluded.authorization_id,
    capture_id = excluded.capture_id,
    decline_code = excluded.decline_code,
    next_action = excluded.next_action
WHERE excluded.version > old.version;

-- upsert_contacts --
-- Keep the encrypted contacts of bookings just held, with the hashes they are found by.
INSERT INTO contacts (booking_id, ciphertext, email_hash)
SELECT *
FROM unnest($1::text[], $2::bytea[], $3::bytea[])
ON CONFLICT (booking_id) DO NOTHING;

-- upsert_sales --
-- Bring sales to what newer entries say of them.
INSERT INTO sales AS old (
    sale_id, partition, version, name, opens_ms, closes_ms, hold_ms, max_units_per_customer,
    currency, created_ms, updated_ms
)
SELECT *
FROM unnest(
    $1::text[], $2::integer[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::text[], $10::bigint[], $11::bigint[]
)
ON CONFLICT (sale_id) DO UPDATE
SET
    version = excluded.version,
    name = excluded.name,
    opens_ms = excluded.opens_ms,
    closes_ms = excluded.closes_ms,
    hold_ms = excluded.hold_ms,
    max_units_per_customer = excluded.max_units_per_customer,
    currency = excluded.currency,
    updated_ms = excluded.updated_ms
WHERE excluded.version > old.version;

-- retire_items --
-- Take out of their sales' definitions the items of sales that are at the given versions.
UPDATE items
SET position = NULL
FROM sales
INNER JOIN unnest($1::text[], $2::bigint[]) AS put (sale_id, version)
    ON sales.sale_id = put.sale_id AND sales.version = put.version
WHERE items.sale_id = sales.sale_id AND items.position IS NOT NULL;

-- define_items --
-- Put items into the definitions of sales that are at the given versions; levels stay.
INSERT INTO items (sale_id, item_id, position, name, unit_price, max_per_booking)
SELECT
    put.sale_id,
    put.item_id,
    put.position,
    put.name,
    put.unit_price,
    put.max_per_booking
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::integer[], $5::text[], $6::bigint[],
    $7::bigint[]
) AS put (sale_id, version, item_id, position, name, unit_price, max_per_booking)
INNER JOIN sales ON put.sale_id = sales.sale_id AND put.version = sales.version
ON CONFLICT (sale_id, item_id) DO UPDATE
SET
    position = excluded.position,
    name = excluded.name,
    unit_price = excluded.unit_price,
    max_per_booking = excluded.max_per_booking;

-- add_deltas --
-- Add to items' levels, and answer what they are now.
INSERT INTO items AS old (sale_id, item_id, available, held, sold)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
ON CONFLICT (sale_id, item_id) DO UPDATE
SET
    available = old.available + excluded.available,
    held = old.held + excluded.held,
    sold = old.sold + excluded.sold
RETURNING sale_id, item_id, available, held, sold;

-- sale_levels --
-- Read the levels of all items that some sales have or had.
SELECT
    sale_id,
    item_id,
    available,
    held,
    sold
FROM items
WHERE sale_id = any($1::text[]);

-- sales_at_rest --
-- Read which of some sales have nothing open, nothing in quarantine, and no booking that changed.
SELECT sale.sale_id
FROM sales AS sale
WHERE
    sale.sale_id = any($1::text[])
    AND NOT EXISTS (
        SELECT 1
        FROM bookings AS booking
        LEFT JOIN payments AS payment
            ON booking.booking_id = payment.booking_id AND payment.step_ms IS NOT NULL
        WHERE
            booking.sale_id = sale.sale_id
            AND (
                booking.status = 'PENDING'
                OR booking.updated_ms > (extract(EPOCH FROM now()) * 1000)::bigint - $2::bigint
                OR payment.booking_id IS NOT NULL
            )
    )
    AND NOT EXISTS (
        SELECT 1
        FROM quarantine
        WHERE quarantine.sale_id = sale.sale_id
    );

-- archived_sale --
-- Read a sale, where its partition's cursor is, and if an entry of it waits in quarantine.
SELECT
    sale.*,
    partitions.sequence,
    EXISTS (
        SELECT 1
        FROM quarantine
        WHERE quarantine.sale_id = sale.sale_id AND quarantine.discarded_at IS NULL
    ) AS waits
FROM sales AS sale
INNER JOIN partitions ON sale.partition = partitions.partition
WHERE sale.sale_id = $1;

-- archived_items --
-- Read the items of a sale's definition, in its order.
SELECT *
FROM items
WHERE sale_id = $1 AND position IS NOT NULL
ORDER BY position;

-- customers_of_sale --
-- Read how many units customers hold and have bought in a sale.
SELECT
    booking.customer_id,
    sum(line.quantity)::bigint AS units
FROM bookings AS booking
INNER JOIN lines AS line ON booking.booking_id = line.booking_id
WHERE booking.sale_id = $1 AND booking.status <> 'CANCELLED'
GROUP BY booking.customer_id;

-- quarantined_deltas --
-- Read the deltas that the levels of some sales lack because their entries are in quarantine.
SELECT
    sequence,
    sale_id,
    deltas
FROM quarantine
WHERE sale_id = any($1::text[]) AND deltas <> '' AND discarded_at IS NULL;

-- quarantined --
-- Count the entries in quarantine by partition.
SELECT
    partition,
    count(*) AS entries
FROM quarantine
WHERE discarded_at IS NULL
GROUP BY partition;

-- list_quarantine --
-- Read what is in quarantine of a partition or of all, without the entries themselves.
SELECT
    partition,
    sequence,
    reason,
    detail,
    type,
    booking_id,
    sale_id,
    quarantined_at,
    discarded_at,
    discarded_by,
    discarded_because
FROM quarantine
WHERE $1::integer IS NULL OR partition = $1
ORDER BY partition, sequence;

-- quarantined_entry --
-- Read one entry in quarantine, discarded or not.
SELECT *
FROM quarantine
WHERE partition = $1 AND sequence = $2;

-- quarantined_behind --
-- Read an entry that waits in quarantine, and those of its booking that wait behind it.
SELECT
    sequence,
    generation,
    entry
FROM quarantine
WHERE
    partition = $1
    AND discarded_at IS NULL
    AND (sequence = $2 OR (sequence > $2 AND booking_id = $3))
ORDER BY sequence;

-- lock_partition --
-- Wait until nobody drains a partition; nobody does until the end of the transaction.
SELECT partition
FROM partitions
WHERE partition = $1
FOR UPDATE;

-- release_from_quarantine --
-- Take out of quarantine an entry that was applied.
DELETE FROM quarantine
WHERE partition = $1 AND sequence = $2 AND discarded_at IS NULL
RETURNING sequence;

-- discard_from_quarantine --
-- Note that an entry will not be applied: who said so, and why.
UPDATE quarantine
SET discarded_at = now(), discarded_by = $3, discarded_because = $4
WHERE partition = $1 AND sequence = $2 AND discarded_at IS NULL
RETURNING sequence;

-- booking --
-- Read a booking with its lines and its encrypted contact, and its last entry that was set aside.
SELECT
    booking.*,
    contacts.ciphertext,
    aside.sequence AS aside_sequence,
    aside.version AS aside_version,
    aside.entry AS aside_entry,
    aside.waits AS aside_waits
FROM (SELECT $1::text AS booking_id) AS wanted
LEFT JOIN whole_bookings AS booking ON wanted.booking_id = booking.booking_id
LEFT JOIN contacts ON wanted.booking_id = contacts.booking_id
LEFT JOIN LATERAL (
    SELECT
        quarantine.sequence,
        quarantine.version,
        quarantine.entry,
        quarantine.discarded_at IS NULL AS waits
    FROM quarantine
    WHERE quarantine.booking_id = wanted.booking_id
    ORDER BY waits DESC, quarantine.sequence DESC
    LIMIT 1
) AS aside ON TRUE;

-- history --
-- Read a page of all bookings, newest first.
SELECT *
FROM whole_bookings
WHERE
    (created_ms, booking_id) < ($1, $2)
    AND created_ms >= $5
    AND ($3::text IS NULL OR status = $3)
ORDER BY created_ms DESC, booking_id DESC
LIMIT $4;

-- sale_history --
-- Read a page of a sale's bookings, newest first.
SELECT *
FROM whole_bookings
WHERE
    (created_ms, booking_id) < ($1, $2)
    AND created_ms >= $5
    AND ($3::text IS NULL OR status = $3)
    AND sale_id = $6
ORDER BY created_ms DESC, booking_id DESC
LIMIT $4;

-- customer_history --
-- Read a page of a customer's bookings, of all sales or of one, newest first.
SELECT *
FROM whole_bookings
WHERE
    (created_ms, booking_id) < ($1, $2)
    AND created_ms >= $5
    AND ($3::text IS NULL OR status = $3)
    AND ($6::text IS NULL OR sale_id = $6)
    AND customer_id = $7
ORDER BY created_ms DESC, booking_id DESC
LIMIT $4;

-- stock_history --
-- Read a page of the changes of an item's levels, newest first.
SELECT
    sequence,
    at_ms,
    type,
    booking_id,
    delta_available,
    delta_held,
    delta_sold,
    level_available,
    level_held,
    level_sold
FROM stock_history
WHERE sale_id = $1 AND item_id = $2 AND sequence < $3
ORDER BY sequence DESC
LIMIT $4;

-- ping --
-- Answer if PostgreSQL is there.
SELECT 1 AS pong;

-- audit_entries --
-- Read a partition's entries after a sequence up to another, with what was told of them apart.
SELECT
    sequence,
    generation,
    at_ms,
    type,
    booking_id,
    sale_id,
    entry,
    chain
FROM journal
WHERE partition = $1 AND sequence > $2 AND sequence <= $3
ORDER BY sequence
LIMIT $4;

-- audit_texts --
-- Read some entries of a partition's journal as they were written.
SELECT
    sequence,
    entry
FROM journal
WHERE partition = $1 AND sequence = any($2::bigint[]);

-- audit_position --
-- Read where a partition stands.
SELECT
    generation,
    sequence,
    chain,
    bytes,
    base_sequence,
    base_chain,
    base_bytes,
    base_ms
FROM partitions
WHERE partition = $1;

-- audit_stray_entry --
-- Read the first sequence in a partition's journal that lies outside what its cursor covers.
SELECT min(sequence)
FROM journal
WHERE partition = $1 AND (sequence > $2 OR sequence <= $3);

-- audit_kept_entries --
-- Read a partition's entries after its base up to a sequence.
SELECT
    sequence,
    entry
FROM journal
WHERE partition = $1 AND sequence > $2 AND sequence <= $3
ORDER BY sequence;

-- audit_base_definitions --
-- Read the entries that defined a partition's sales as they were at its base.
SELECT
    sequence,
    entry
FROM base_definitions
WHERE partition = $1
ORDER BY sale_id;

-- lock_journal --
-- Let nothing be dropped from the journal, until the session lets go of it.
SELECT pg_advisory_lock_shared($1::integer, $2::integer);

-- audit_quarantine --
-- Read what of a partition's journal could not be applied.
SELECT
    sequence,
    reason,
    detail,
    booking_id,
    sale_id,
    version,
    discarded_at IS NOT NULL AS discarded
FROM quarantine
WHERE partition = $1
ORDER BY sequence;

-- audit_sales --
-- Read a partition's sales.
SELECT *
FROM sales
WHERE partition = $1
ORDER BY sale_id;

-- audit_items --
-- Read the items of some sales, those out of their definitions last.
SELECT *
FROM items
WHERE sale_id = any($1::text[])
ORDER BY sale_id, position;

-- audit_bookings --
-- Read the bookings with ids from one on and below another, in the order of their ids.
SELECT *
FROM whole_bookings
WHERE booking_id >= $1 AND booking_id < $2
ORDER BY booking_id;

-- audit_payments --
-- Read the payments of bookings with ids from one on and below another, in the order of their ids.
SELECT *
FROM payments
WHERE booking_id >= $1 AND booking_id < $2
ORDER BY booking_id, attempt;

-- audit_stock_history --
-- Sum changes of some sales' items, up to a sequence or all (null), and tell if levels follow.
SELECT
    sale_id,
    item_id,
    count(*) AS changes,
    sum(delta_available)::bigint AS available,
    sum(delta_held)::bigint AS held,
    sum(delta_sold)::bigint AS sold,
    bool_and(
        level_available = available_so_far
        AND level_held = held_so_far
        AND level_sold = sold_so_far
    ) AS follows
FROM (
    SELECT
        *,
        sum(delta_available) OVER so_far AS available_so_far,
        sum(delta_held) OVER so_far AS held_so_far,
        sum(delta_sold) OVER so_far AS sold_so_far
    FROM stock_history
    WHERE sale_id = any($1::text[]) AND ($2::bigint IS NULL OR sequence <= $2)
    WINDOW so_far AS (PARTITION BY sale_id, item_id ORDER BY sequence)
) AS summed
GROUP BY sale_id, item_id
ORDER BY sale_id, item_id;

-- audit_last_entries --
-- Read which entry was the last of some bookings.
SELECT
    booking_id,
    sequence
FROM bookings
WHERE booking_id = any($1::text[]);

-- reconciler_position --
-- Read how far a gateway's charges were compared (never: null), and when the installation was made.
SELECT
    reconciler.checked_until_ms,
    (extract(EPOCH FROM installation.created_at) * 1000)::bigint AS installed_ms
FROM installation
LEFT JOIN reconciler ON reconciler.gateway = $1;

-- set_checked_until --
-- Note how far the reconciler has compared a gateway's charges; never back.
INSERT INTO reconciler (gateway, checked_until_ms)
VALUES ($1, $2)
ON CONFLICT (gateway) DO UPDATE
SET checked_until_ms = greatest(reconciler.checked_until_ms, excluded.checked_until_ms);

-- captures --
-- Read the captures recorded from a time on and before another, page by page.
SELECT
    at_ms,
    partition,
    sequence,
    entry
FROM journal
WHERE
    type = 'captured'
    AND at_ms >= $1
    AND at_ms < $2
    AND (at_ms, partition, sequence) > ($3, $4, $5)
ORDER BY at_ms, partition, sequence
LIMIT $6;

-- try_lock_session --
-- Take an advisory lock that is the session's until it gives it back; whether it was free.
SELECT pg_try_advisory_lock($1::integer, $2::integer) AS locked;

-- unlock_session --
-- Give an advisory lock of the session back.
SELECT pg_advisory_unlock($1::integer, $2::integer);

-- last_written_ms --
-- Read when the last entries of a partition were written.
SELECT max(lately.at_ms) AS last_ms
FROM (
    SELECT at_ms
    FROM journal
    WHERE partition = $1
    ORDER BY sequence DESC
    LIMIT 1000
) AS lately;

-- take_generation --
-- Take a partition to a new generation, unless somebody else did, or its cursor moved.
UPDATE partitions
SET generation = $5
WHERE partition = $1 AND generation = $2 AND sequence = $3 AND chain = $4
RETURNING partition;

-- insert_rebuild --
-- Note that a rebuild has begun.
INSERT INTO rebuilds (partition, generation, sequence, sale_id, started_by)
VALUES ($1, $2, $3, $4, $5)
RETURNING rebuild;

-- finish_rebuild --
-- Note that a rebuild has ended, and what it counted.
UPDATE rebuilds
SET finished_at = now(), counts = $2
WHERE rebuild = $1;

-- keep_dropped --
-- Keep entries that are not taken over.
INSERT INTO dropped_entries (partition, generation, sequence, entry)
SELECT
    $1::integer AS partition,
    $2::bigint AS generation,
    dropped.sequence,
    dropped.entry
FROM unnest($3::bigint[], $4::bytea[]) AS dropped (sequence, entry)
ON CONFLICT DO NOTHING;

-- salvage_bookings --
-- Read some bookings.
SELECT *
FROM whole_bookings
WHERE booking_id = any($1::text[]);

-- salvage_customers --
-- Sum the units that some customers have of some sales, pair by pair; those without any left out.
SELECT
    wanted.sale_id,
    wanted.customer_id,
    sum(line.quantity)::bigint AS units
FROM unnest($1::text[], $2::text[]) AS wanted (sale_id, customer_id)
INNER JOIN bookings AS booking
    ON wanted.customer_id = booking.customer_id AND wanted.sale_id = booking.sale_id
INNER JOIN lines AS line ON booking.booking_id = line.booking_id
WHERE booking.status <> 'CANCELLED'
GROUP BY wanted.sale_id, wanted.customer_id;

-- restore_customers --
-- Sum the units that customers have of sales, or of one, by bookings with ids within bounds.
SELECT
    booking.sale_id,
    booking.customer_id,
    sum(line.quantity)::bigint AS units
FROM bookings AS booking
INNER JOIN lines AS line ON booking.booking_id = line.booking_id
WHERE
    booking.booking_id >= $1 AND booking.booking_id < $2
    AND line.booking_id >= $1 AND line.booking_id < $2
    AND booking.status <> 'CANCELLED'
    AND ($3::text IS NULL OR booking.sale_id = $3)
GROUP BY booking.sale_id, booking.customer_id;

-- restore_holds --
-- Read the holds among bookings with ids from one on and below another, with their contacts.
SELECT
    booking.*,
    contacts.ciphertext
FROM whole_bookings AS booking
LEFT JOIN contacts ON booking.booking_id = contacts.booking_id
WHERE
    booking.booking_id >= $1 AND booking.booking_id < $2
    AND booking.status = 'PENDING'
    AND ($3::text IS NULL OR booking.sale_id = $3);

-- restore_paying --
-- Read bookings that are no holds and whose payment is open, as `restore_holds` does.
SELECT
    booking.*,
    contacts.ciphertext
FROM payments AS payment
INNER JOIN whole_bookings AS booking
    ON
        payment.booking_id = booking.booking_id
        AND payment.attempt = booking.payment_attempt
LEFT JOIN contacts ON booking.booking_id = contacts.booking_id
WHERE
    payment.booking_id >= $1 AND payment.booking_id < $2
    AND payment.step_ms IS NOT NULL
    AND booking.status <> 'PENDING'
    AND ($3::text IS NULL OR booking.sale_id = $3);

-- restore_tombstones --
-- Read the versions of bookings that are no holds and changed since a time.
SELECT
    booking_id,
    version
FROM bookings
WHERE
    booking_id >= $1 AND booking_id < $2
    AND status <> 'PENDING'
    AND updated_ms >= $4
    AND ($3::text IS NULL OR sale_id = $3);

-- restore_records --
-- Read the entries of a partition that may have left idempotency records, newest first.
SELECT
    sequence,
    at_ms,
    entry
FROM journal
WHERE
    partition = $1
    AND type IN ('held', 'confirmed', 'captured', 'payment_failed', 'voided')
    AND ($2::text IS NULL OR sale_id = $2)
ORDER BY sequence DESC;

-- restore_hold_counts --
-- Count the holds of sales among bookings with ids from one on and below another.
SELECT
    sale_id,
    count(*) AS holds
FROM bookings
WHERE
    booking_id >= $1 AND booking_id < $2
    AND status = 'PENDING'
    AND ($3::text IS NULL OR sale_id = $3)
GROUP BY sale_id;

-- restore_open_payments --
-- Read which bookings' payments are open, of bookings with ids from one on and below another.
SELECT payment.booking_id
FROM payments AS payment
INNER JOIN bookings AS booking ON payment.booking_id = booking.booking_id
WHERE
    payment.booking_id >= $1 AND payment.booking_id < $2
    AND payment.step_ms IS NOT NULL
    AND ($3::text IS NULL OR booking.sale_id = $3);

-- restore_names --
-- Read the ids of a sale's bookings.
SELECT booking_id
FROM bookings
WHERE sale_id = $1;

-- restore_discarded --
-- Read the entries of a partition, or of a sale, that an operator has given up.
SELECT
    sequence,
    sale_id,
    deltas,
    entry
FROM quarantine
WHERE
    partition = $1
    AND discarded_at IS NOT NULL
    AND ($2::text IS NULL OR sale_id = $2)
ORDER BY sequence;

-- be_patient --
-- Let this transaction be silent for some milliseconds.
SELECT set_config('idle_in_transaction_session_timeout', $1, TRUE);
