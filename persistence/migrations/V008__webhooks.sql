-- Where events go: endpoints of other systems, and what is kept of each delivery.

CREATE TABLE webhook_endpoints (
    endpoint_id text COLLATE "C" PRIMARY KEY,
    url text NOT NULL,
    events text[] NOT NULL,
    patterns text[] NOT NULL,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamptz,
    enabled boolean NOT NULL DEFAULT TRUE,
    disabled_at timestamptz,
    disabled_reason text CHECK (disabled_reason IN ('admin', 'gone', 'failing')),
    failing_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (enabled = (disabled_at IS NULL)),
    CHECK (enabled = (disabled_reason IS NULL)),
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
COMMENT ON COLUMN webhook_endpoints.patterns IS
'The events that are wanted, as LIKE reads them.';
COMMENT ON COLUMN webhook_endpoints.secret IS
'Signs what is sent; encrypted, and shown once, when it is made.';
COMMENT ON COLUMN webhook_endpoints.failing_since IS
'The first failure after the last success; null while deliveries arrive.';

ALTER TABLE deliveries
ALTER COLUMN partition DROP NOT NULL,
ALTER COLUMN sequence DROP NOT NULL,
ADD COLUMN body bytea,
ADD COLUMN first_at timestamptz,
ADD COLUMN excerpt text,
ADD CHECK ((partition IS NULL) = (body IS NOT NULL));
COMMENT ON COLUMN deliveries.body IS
'What a test event says, which no entry tells; null for all others.';
COMMENT ON COLUMN deliveries.first_at IS
'When it was first tried.';
COMMENT ON COLUMN deliveries.excerpt IS
'The beginning of the last answer.';

DROP INDEX deliveries_ended;
CREATE INDEX deliveries_log ON deliveries (destination, delivery_id);
CREATE INDEX deliveries_parked ON deliveries (destination, delivery_id) WHERE state = 'parked';
CREATE INDEX deliveries_old ON deliveries (ended_at) WHERE state <> 'waiting';
