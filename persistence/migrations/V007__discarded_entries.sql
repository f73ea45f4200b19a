-- Entries that an operator has given up: they stay in quarantine, as what they are.

ALTER TABLE quarantine
ADD COLUMN version bigint,
ADD COLUMN discarded_at timestamptz,
ADD COLUMN discarded_by text,
ADD COLUMN discarded_because text,
ADD CHECK (
    (discarded_at IS NULL) = (discarded_by IS NULL)
    AND (discarded_at IS NULL) = (discarded_because IS NULL)
);
COMMENT ON COLUMN quarantine.version IS
'Of the booking or sale that the entry is about; null where it cannot be told.';
COMMENT ON COLUMN quarantine.discarded_at IS
'Null while it waits. Discarded, its deltas are in the levels like those of any other entry, its '
'booking is as the entry before left it, and the next entry of that booking applies.';

CREATE INDEX quarantine_booking_id ON quarantine (booking_id);
