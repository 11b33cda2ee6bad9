-- Recipients that a caller wants to be looked up, and waits for. The worker of the Identity Center
-- instance answers; rows go after an hour.
CREATE TABLE connector.lookups (
    connector_id text NOT NULL REFERENCES connector.connectors,
    id uuid NOT NULL,
    integration_id uuid NOT NULL,
    -- As the caller names it; `model::grant` is its only reader.
    recipient jsonb NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT connector.now(),
    -- NULL: not answered.
    answered_at timestamptz,
    principal jsonb,
    -- Why nobody was found.
    refusal text,
    finding text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, id),
    CHECK ((answered_at IS NULL) = (principal IS NULL AND refusal IS NULL))
);

CREATE INDEX lookups_open ON connector.lookups (connector_id, integration_id, requested_at)
    WHERE answered_at IS NULL;
