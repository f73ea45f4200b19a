-- How many bytes of journal PostgreSQL has: with the count that Redis keeps of what was written,
-- the size of the backlog.

ALTER TABLE partitions ADD COLUMN bytes bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0);
COMMENT ON COLUMN partitions.bytes IS
'The length of all entries up to the cursor. It moves with the cursor.';

UPDATE partitions
SET bytes = (
    SELECT coalesce(sum(length(journal.entry)), 0)
    FROM journal
    WHERE
        journal.partition = partitions.partition
        AND journal.sequence <= partitions.sequence
);
