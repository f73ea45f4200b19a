-- What leaves the books: public events on their way out, and what became of each at each place it
-- goes to (docs/adr/0013, docs/events.md).

ALTER TABLE bookings ADD COLUMN events bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN bookings.events IS
'How many public events the booking has had: the sequence of the last of them.';

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    subject_sequence bigint NOT NULL,
    partition integer NOT NULL,
    sequence bigint NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000
);
COMMENT ON TABLE outbox IS
'Events that were not dealt out yet, written in the transaction of their entries. What they say is '
'told by the entry, (partition, sequence) in the journal.';
COMMENT ON COLUMN outbox.position IS
'Rises with the commits of one partition, not over all: rows are taken as they are seen, never by '
'"greater than the last".';

CREATE TABLE stream_queue (
    position bigint PRIMARY KEY,
    event_id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject_sequence bigint NOT NULL,
    partition integer NOT NULL,
    sequence bigint NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000
);
COMMENT ON TABLE stream_queue IS
'Events that wait for the stream of other services, by their position in the outbox: apart from '
'deliveries, because all events go there and none needs a state of its own.';

CREATE TABLE deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    subject_sequence bigint NOT NULL,
    partition integer NOT NULL,
    sequence bigint NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'parked')),
    attempts integer NOT NULL DEFAULT 0,
    dealt_at timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    ended_at timestamptz,
    status integer,
    detail text,
    CHECK ((state = 'waiting') = (ended_at IS NULL))
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 20000
);
COMMENT ON TABLE deliveries IS
'One row for each event and place it goes to. Of those of one subject that wait for one place, '
'only the first is sent.';
COMMENT ON COLUMN deliveries.leased_until IS
'Who claimed the row sends it until then; afterwards anybody may.';
COMMENT ON COLUMN deliveries.status IS
'The HTTP or SMTP status of the last answer; null where there was none.';

CREATE INDEX deliveries_waiting ON deliveries (destination, subject, delivery_id)
WHERE state = 'waiting';
CREATE INDEX deliveries_due ON deliveries (destination, next_at, delivery_id)
WHERE state = 'waiting';
CREATE INDEX deliveries_ended ON deliveries (destination, state, ended_at, delivery_id)
WHERE state <> 'waiting';
