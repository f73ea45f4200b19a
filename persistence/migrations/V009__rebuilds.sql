-- Rebuilds of Redis from PostgreSQL: who did what when, and what of Redis's journal was dropped.

CREATE TABLE rebuilds (
    rebuild bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition integer NOT NULL,
    generation bigint NOT NULL,
    sequence bigint NOT NULL,
    sale_id text COLLATE "C",
    started_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    counts json
);
COMMENT ON TABLE rebuilds IS 'One that did not finish was interrupted, or is at it.';
COMMENT ON COLUMN rebuilds.sale_id IS
'The sale that was rebuilt alone; null where it was the partition, under a new generation.';
COMMENT ON COLUMN rebuilds.sequence IS
'The cursor that Redis was rebuilt at; the first entry of the generation is the next one.';
COMMENT ON COLUMN rebuilds.counts IS
'What was salvaged, dropped and restored, by the words of `holdfast rebuild --json`.';

CREATE TABLE dropped_entries (
    partition integer NOT NULL,
    generation bigint NOT NULL,
    sequence bigint NOT NULL,
    entry bytea NOT NULL,
    PRIMARY KEY (partition, generation, sequence)
);
COMMENT ON TABLE dropped_entries IS
'What lay in Redis''s journal and did not follow from PostgreSQL''s: kept for people to read.';
COMMENT ON COLUMN dropped_entries.generation IS 'Of the rebuild that found it.';
