-- Crawls: what is to be read, who reads it, and how it ended.

CREATE TABLE connector.syncs (
    connector_id text NOT NULL,
    id uuid NOT NULL,
    integration_id uuid NOT NULL,
    -- Counts the syncs of the integration, from 1.
    generation bigint NOT NULL CHECK (generation > 0),
    state text NOT NULL CHECK (state IN (
        'planned', 'running', 'succeeded', 'succeeded_with_problems', 'failed', 'cancelled')),
    trigger text NOT NULL CHECK (trigger IN ('schedule', 'request', 'created')),
    resources_seen bigint NOT NULL DEFAULT 0,
    resources_written bigint NOT NULL DEFAULT 0,
    resources_gone bigint NOT NULL DEFAULT 0,
    scopes_planned bigint NOT NULL DEFAULT 0,
    scopes_complete bigint NOT NULL DEFAULT 0,
    scopes_incomplete bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT connector.now(),
    started_at timestamptz,
    ended_at timestamptz CHECK ((ended_at IS NULL) = (state IN ('planned', 'running'))),
    detail text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, id),
    UNIQUE (connector_id, integration_id, generation),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

-- An integration never has two.
CREATE UNIQUE INDEX syncs_one_open ON connector.syncs (connector_id, integration_id)
    WHERE ended_at IS NULL;

-- The unit of work of one sync: the scopes of one account in one region. The row
-- is its own queue entry, lease and fence.
CREATE TABLE connector.sync_groups (
    connector_id text NOT NULL,
    sync_id uuid NOT NULL,
    -- Empty: the organization itself.
    account_id text NOT NULL CHECK (account_id ~ '^(\d{12})?$'),
    -- Empty: what an account has once.
    region text NOT NULL,
    done boolean NOT NULL DEFAULT false,
    -- Counts the leases; what was written under an older one is refused.
    fence bigint NOT NULL DEFAULT 0,
    lease_owner uuid,
    leased_until timestamptz CHECK ((leased_until IS NULL) = (lease_owner IS NULL)),
    PRIMARY KEY (connector_id, sync_id, account_id, region),
    FOREIGN KEY (connector_id, sync_id) REFERENCES connector.syncs ON DELETE CASCADE,
    CHECK (account_id <> '' OR region = '')
);

CREATE INDEX sync_groups_open ON connector.sync_groups (connector_id, sync_id)
    WHERE NOT done;

-- The unit of proof: when was this place last read whole, and if it was not, why.
-- Freshness stands here, never on the resource rows.
CREATE TABLE connector.scopes (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    account_id text NOT NULL,
    region text NOT NULL,
    collector text NOT NULL,
    -- Generation of the last try that ended.
    tried_generation bigint NOT NULL,
    tried_at timestamptz NOT NULL,
    -- NULL: it was read whole. Else the stable code of the reason.
    reason text,
    -- What tells this reason from others of its code.
    subject text NOT NULL DEFAULT '',
    -- What was said, without secrets.
    detail text NOT NULL DEFAULT '',
    -- When it was last read whole.
    complete_at timestamptz,
    complete_generation bigint,
    -- The breaker: how many complete reads in a row agreed on the same absence,
    -- and the digest of what they agreed on.
    held_reads integer NOT NULL DEFAULT 0,
    held_digest bytea,
    PRIMARY KEY (connector_id, integration_id, account_id, region, collector),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

-- Folded problems of the last sync; text is made from code and subject when read.
CREATE TABLE connector.problems (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    code text NOT NULL,
    subject text NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    examples text[] NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    PRIMARY KEY (connector_id, integration_id, code, subject),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);
