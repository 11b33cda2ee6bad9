-- Tenants, who may call for them, and the organizations that they connected.

CREATE SCHEMA connector;

-- The only clock that SQL asks. A test moves time by replacing this function in
-- its own database.
CREATE FUNCTION connector.now() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT statement_timestamp()';

CREATE TABLE connector.connectors (
    -- The external id of every role that is assumed for this tenant.
    connector_id text PRIMARY KEY CHECK (length(connector_id) BETWEEN 2 AND 128),
    created_at timestamptz NOT NULL DEFAULT connector.now()
);

CREATE TABLE connector.tokens (
    connector_id text NOT NULL REFERENCES connector.connectors,
    id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'granter', 'admin')),
    -- SHA-256 of the secret, which is random: no salt, no stretching needed.
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT connector.now(),
    -- NULL: does not end by time.
    expires_at timestamptz,
    -- To the minute, so that a busy caller does not write a row per call.
    last_used_at timestamptz,
    PRIMARY KEY (connector_id, id)
);

-- A call presents its token's id before its connector is known.
CREATE INDEX tokens_by_id ON connector.tokens (id);

CREATE TABLE connector.integrations (
    connector_id text NOT NULL REFERENCES connector.connectors,
    id uuid NOT NULL,
    -- The whole form; `model::integration` is its only reader.
    settings jsonb NOT NULL,
    name text NOT NULL GENERATED ALWAYS AS (settings ->> 'name') STORED,
    -- Pinned when the integration was validated; every session is held against them.
    management_account_id text NOT NULL CHECK (management_account_id ~ '^\d{12}$'),
    organization_id text NOT NULL CHECK (organization_id ~ '^o-[a-z0-9]{10,32}$'),
    enabled boolean NOT NULL DEFAULT true,
    -- Version of the settings; the etag of the API.
    version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL DEFAULT connector.now(),
    updated_at timestamptz NOT NULL DEFAULT connector.now(),
    -- NULL: disabled.
    next_sync_at timestamptz CHECK (enabled = (next_sync_at IS NOT NULL)),
    -- End of the last sync that did not fail.
    last_sync_at timestamptz,
    -- When the walk was complete and every scope had been tried once.
    initialized_at timestamptz,
    -- Generation of the newest sync.
    generation bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (connector_id, id),
    UNIQUE (connector_id, name)
);

-- An organization is connected once per daemon, whoever connects it: the one
-- unique key that spans connectors.
CREATE UNIQUE INDEX integrations_one_per_organization
    ON connector.integrations (organization_id);

CREATE INDEX integrations_due ON connector.integrations (next_sync_at);

-- Settings that wait to be tried in AWS, and what was found. The API writes the
-- row and waits for it; a task does the trying.
CREATE TABLE connector.validations (
    connector_id text NOT NULL REFERENCES connector.connectors,
    id uuid NOT NULL,
    settings jsonb NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT connector.now(),
    lease_token uuid,
    leased_until timestamptz,
    -- NULL: not finished.
    finished_at timestamptz,
    -- The steps in order, once finished.
    steps jsonb CHECK ((steps IS NULL) = (finished_at IS NULL)),
    -- What to pin, where it was found.
    management_account_id text,
    organization_id text,
    PRIMARY KEY (connector_id, id)
);

CREATE INDEX validations_open ON connector.validations (requested_at)
    WHERE finished_at IS NULL;
