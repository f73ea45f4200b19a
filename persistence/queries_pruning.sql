-- Old rows leave the journal (`persistence.pruning`).

-- prune_partitions --
-- Read which partitions there are.
SELECT partition
FROM partitions
ORDER BY partition;

-- prune_lock --
-- Take the journal until the end of the transaction, if nobody reads it from its base.
SELECT pg_try_advisory_xact_lock($1::integer, $2::integer) AS locked;

-- prune_needs --
-- Read a partition's ends, and the first entries and times that something still needs.
SELECT
    partitions.base_sequence,
    partitions.sequence,
    (SELECT min(one.sequence) FROM quarantine AS one WHERE one.partition = $1) AS quarantine,
    (SELECT min(one.sequence) FROM outbox AS one WHERE one.partition = $1) AS outbox,
    (SELECT min(one.sequence) FROM stream_queue AS one WHERE one.partition = $1) AS stream,
    (SELECT min(one.sequence) FROM deliveries AS one WHERE one.partition = $1) AS deliveries,
    (
        SELECT min(one.step_ms)
        FROM payments AS one
        WHERE one.step_ms IS NOT NULL AND one.booking_id >= $2 AND one.booking_id < $3
    ) AS paying_ms,
    coalesce(
        (SELECT min(one.checked_until_ms) FROM reconciler AS one),
        (SELECT min(one.at_ms) FROM journal AS one WHERE one.type = 'captured')
    ) AS reconciled_ms
FROM partitions
WHERE partitions.partition = $1;

-- prune_until --
-- Find a partition's first entry after its base that is not from before a time; null: none.
SELECT sequence
FROM journal
WHERE partition = $1 AND sequence > $2 AND (at_ms IS NULL OR at_ms >= $3)
ORDER BY sequence
LIMIT 1;

-- prune_sizes --
-- Count a partition's entries after its base and before a sequence, and their bytes.
SELECT
    count(*) AS entries,
    coalesce(sum(length(entry)), 0)::bigint AS bytes
FROM journal
WHERE partition = $1 AND sequence > $2 AND sequence < $3;

-- prune_base --
-- Read a partition's base.
SELECT
    base_sequence,
    base_chain,
    base_bytes
FROM partitions
WHERE partition = $1;

-- prune_rows --
-- Read a partition's oldest entries before a sequence.
SELECT
    sequence,
    at_ms,
    type,
    sale_id,
    entry,
    chain
FROM journal
WHERE partition = $1 AND sequence > $2 AND sequence < $3
ORDER BY sequence
LIMIT $4;

-- keep_base_definitions --
-- Keep the entries that define sales at the base.
INSERT INTO base_definitions (partition, sale_id, sequence, entry)
SELECT
    $1::integer AS partition,
    defined.sale_id,
    defined.sequence,
    defined.entry
FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS defined (sale_id, sequence, entry)
ON CONFLICT (partition, sale_id) DO UPDATE
SET sequence = excluded.sequence, entry = excluded.entry;

-- drop_rows --
-- Drop a partition's entries after a sequence up to another.
DELETE FROM journal
WHERE partition = $1 AND sequence > $2 AND sequence <= $3;

-- move_base --
-- Move a partition's base to an entry before its cursor, unless somebody else moved it.
UPDATE partitions
SET base_sequence = $4, base_chain = $5, base_bytes = $6, base_ms = $7
WHERE partition = $1 AND base_sequence = $2 AND base_chain = $3 AND sequence > $4
RETURNING partition;
