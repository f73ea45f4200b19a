-- The book at rest: what the installation was set up with, how far each partition's journal has
-- been taken over, and the entries themselves.
--
-- Times named `*_ms` are milliseconds since the epoch as the journal has them, exact and the same
-- word as in Lua and JSON; times named `*_at` are PostgreSQL's own clock.
-- Ids sort by byte everywhere, so that pages and indexes agree with Redis and Python.

CREATE TABLE installation (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    partitions integer NOT NULL CHECK (partitions > 0),
    hash_function text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE installation IS
'What was recorded at first start; a process with other values is refused.';

CREATE TABLE partitions (
    partition integer PRIMARY KEY CHECK (partition >= 0),
    generation bigint NOT NULL CHECK (generation > 0),
    sequence bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    chain bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(chain) = 32),
    initialised_at timestamptz,
    drained_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON COLUMN partitions.sequence IS
'The cursor: the last journal entry committed here. It moves in the transaction it covers.';
COMMENT ON COLUMN partitions.chain IS
'SHA-256 of the chain before and the bytes of the entry at the cursor; zeros before the first.';
COMMENT ON COLUMN partitions.initialised_at IS
'When Redis first had this partition. Once set, an empty Redis is a loss and never a first start.';

CREATE TABLE journal (
    partition integer NOT NULL,
    sequence bigint NOT NULL,
    generation bigint NOT NULL,
    at_ms bigint,
    type text,
    booking_id text COLLATE "C",
    sale_id text COLLATE "C",
    entry bytea NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (partition, sequence)
);
COMMENT ON TABLE journal IS
'Every entry, byte for byte as Redis had it; at_ms to sale_id are null where it is unreadable.';

CREATE VIEW journal_text AS
SELECT
    partition,
    sequence,
    generation,
    type,
    booking_id,
    sale_id,
    timestamptz 'epoch' + at_ms * interval '1 millisecond' AS written_at,
    CASE WHEN type IS NULL THEN encode(entry, 'escape') ELSE convert_from(entry, 'UTF8') END
        AS entry
FROM journal;
COMMENT ON VIEW journal_text IS 'The journal for people.';

CREATE TABLE quarantine (
    partition integer NOT NULL,
    sequence bigint NOT NULL,
    generation bigint NOT NULL,
    reason text NOT NULL CHECK (reason IN ('unreadable', 'refused', 'out_of_order')),
    detail text NOT NULL,
    type text,
    booking_id text COLLATE "C",
    sale_id text COLLATE "C",
    deltas text NOT NULL,
    entry bytea NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, sequence)
);
COMMENT ON TABLE quarantine IS
'Entries that could not be applied to the projections. They are in the journal like any other.';
COMMENT ON COLUMN quarantine.deltas IS
'The deltas that the levels lack for it, as the entry spells them; empty where it is unreadable.';

CREATE INDEX quarantine_sale_id ON quarantine (sale_id);
