-- How far the reconciler has compared a gateway's charges with our books.

CREATE TABLE reconciler (
    gateway text PRIMARY KEY,
    checked_until_ms bigint NOT NULL
);
COMMENT ON TABLE reconciler IS
'Charges made before checked_until_ms, by the gateway''s clock, were compared and are settled.';

CREATE INDEX journal_captured ON journal (at_ms) WHERE type = 'captured';
COMMENT ON INDEX journal_captured IS
'What was paid in a window of time, of which each must be a charge at the gateway.';
