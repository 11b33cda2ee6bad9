-- What was discovered.

CREATE TABLE connector.organizational_units (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    -- `r-…` or `ou-…`.
    ou_id text NOT NULL,
    -- Empty: its name could not be read.
    name text NOT NULL,
    -- Empty: the root.
    parent_id text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT connector.now(),
    -- NULL: there. Kept when gone, so that an exclusion of it stays known.
    gone_at timestamptz,
    PRIMARY KEY (connector_id, integration_id, ou_id),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

CREATE TABLE connector.accounts (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    account_id text NOT NULL CHECK (account_id ~ '^\d{12}$'),
    arn text NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    -- As AWS Organizations writes it; `UNKNOWN` where it is not known to us.
    state text NOT NULL,
    -- From the root down, without the account.
    path text[] NOT NULL,
    coverage text NOT NULL CHECK (coverage IN (
        'crawled', 'excluded', 'outside', 'inactive', 'unknown_state', 'gone')),
    first_seen_at timestamptz NOT NULL DEFAULT connector.now(),
    -- Set only by a complete walk that did not meet it.
    gone_at timestamptz CHECK ((gone_at IS NOT NULL) = (coverage = 'gone')),
    PRIMARY KEY (connector_id, integration_id, account_id),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

CREATE TABLE connector.resources (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    arn text NOT NULL,
    type text NOT NULL,
    account_id text NOT NULL,
    -- Empty: global.
    region text NOT NULL,
    -- The scope that proves it; a bucket is read once per account, wherever it lives.
    scope_account_id text NOT NULL,
    scope_region text NOT NULL,
    collector text NOT NULL,
    name text NOT NULL,
    -- Text that PostgreSQL cannot hold is escaped by `model::text`.
    tags jsonb NOT NULL,
    attributes jsonb NOT NULL,
    -- Field → reason: what shows an older value because it could not be read.
    unread jsonb NOT NULL DEFAULT '{}',
    -- Of all that is above; an equal one means that nothing is written.
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    first_seen_at timestamptz NOT NULL DEFAULT connector.now(),
    changed_at timestamptz NOT NULL DEFAULT connector.now(),
    -- NULL: there. Set only under a proof of absence.
    gone_at timestamptz,
    PRIMARY KEY (connector_id, integration_id, arn),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
) WITH (fillfactor = 90);

CREATE INDEX resources_by_scope ON connector.resources
    (connector_id, integration_id, collector, scope_account_id, scope_region)
    WHERE gone_at IS NULL;

CREATE INDEX resources_by_account ON connector.resources
    (connector_id, integration_id, account_id, type)
    WHERE gone_at IS NULL;
