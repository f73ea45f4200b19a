-- Where the journal begins: rows up to a partition's base have been dropped (docs/adr/0019).

ALTER TABLE partitions
ADD COLUMN base_sequence bigint NOT NULL DEFAULT 0,
ADD COLUMN base_chain bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
CHECK (length(base_chain) = 32),
ADD COLUMN base_bytes bigint NOT NULL DEFAULT 0 CHECK (base_bytes >= 0),
ADD COLUMN base_ms bigint NOT NULL DEFAULT 0,
ADD CONSTRAINT partitions_keep_the_entry_at_the_cursor
CHECK (base_sequence = 0 OR (base_sequence > 0 AND base_sequence < sequence));
COMMENT ON COLUMN partitions.base_sequence IS
'The last entry that was dropped from the journal; 0 where none was. It moves in the transaction '
'that drops the rows.';
COMMENT ON COLUMN partitions.base_chain IS 'The chain at the base; zeros where there is none.';
COMMENT ON COLUMN partitions.base_bytes IS 'The length of all entries up to the base.';
COMMENT ON COLUMN partitions.base_ms IS 'When the entry at the base was written.';

CREATE TABLE base_definitions (
    partition integer NOT NULL,
    sale_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    entry bytea NOT NULL,
    PRIMARY KEY (partition, sale_id)
);
COMMENT ON TABLE base_definitions IS
'The last dropped entry of each sale that defined it, as it was: the sale at the base.';
