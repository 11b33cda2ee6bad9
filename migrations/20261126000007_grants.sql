-- Time-bound access: what was asked for, and what is remembered of AWS for it.

-- What was asked for. Written by the API; the engine adds who the recipient is.
CREATE TABLE connector.grants (
    connector_id text NOT NULL REFERENCES connector.connectors,
    -- Chosen by the caller. It outlives the integration: nobody gets it twice.
    grant_id text NOT NULL CHECK (length(grant_id) BETWEEN 1 AND 128),
    -- The order in which they came.
    number bigint GENERATED ALWAYS AS IDENTITY,
    integration_id uuid NOT NULL,
    -- As it was asked; `model::grant` is its only reader.
    request jsonb NOT NULL,
    -- Who the recipient is in the identity store; NULL: not looked up yet.
    principal jsonb,
    -- Every name by which a rule may know the recipient; empty: not looked up yet.
    names text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT connector.now(),
    expires_at timestamptz NOT NULL,
    -- NULL: it was not revoked.
    revoked_at timestamptz,
    -- Counts what was wanted: the grant, extensions, the revoke.
    desired_version bigint NOT NULL DEFAULT 1 CHECK (desired_version > 0),
    -- When to look the recipient up; NULL: it was, or need not be.
    lookup_at timestamptz,
    lookup_failures integer NOT NULL DEFAULT 0,
    -- Since when that does not get on, and why.
    stuck_since timestamptz,
    stuck_reason text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, grant_id),
    CHECK (principal IS NULL OR lookup_at IS NULL)
);

CREATE UNIQUE INDEX grants_by_number ON connector.grants (connector_id, number);
CREATE INDEX grants_to_look_up ON connector.grants (connector_id, integration_id, lookup_at)
    WHERE lookup_at IS NOT NULL;

CREATE INDEX grants_stuck ON connector.grants (connector_id, integration_id)
    WHERE stuck_since IS NOT NULL;

-- Ids that a revoke has ended before their grant came.
CREATE TABLE connector.revoked_before (
    connector_id text NOT NULL REFERENCES connector.connectors,
    grant_id text NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT connector.now(),
    PRIMARY KEY (connector_id, grant_id)
);

-- Objects in AWS that grants hold, or held; `model::target` says what the columns mean.
CREATE TABLE connector.targets (
    connector_id text NOT NULL REFERENCES connector.connectors,
    id uuid NOT NULL,
    integration_id uuid NOT NULL,
    mechanism text NOT NULL,
    -- What tells it from all others of its mechanism.
    object_key text NOT NULL,
    -- As its mechanism names it.
    object jsonb NOT NULL,
    -- AWS changes one object at a time in an account.
    account_id text NOT NULL,
    origin text CHECK (origin IN ('found', 'made')),
    intent_verb text CHECK (intent_verb IN ('create', 'delete')),
    intent_since timestamptz,
    -- NULL: the call was not made yet, or its answer was lost.
    intent_request text,
    intent_settled_before timestamptz,
    intent_origin_before text CHECK (intent_origin_before IN ('found', 'made')),
    settles_at timestamptz,
    doubt_create boolean NOT NULL DEFAULT false,
    doubt_delete boolean NOT NULL DEFAULT false,
    missing_since timestamptz,
    is_adopted boolean NOT NULL DEFAULT false,
    -- Fence of the lease under which it was looked at last.
    fence bigint NOT NULL DEFAULT 0,
    -- When it was seen in AWS last, there or not.
    observed_at timestamptz,
    -- When to look at it next; NULL: nothing is to be done.
    next_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    -- Since when it does not get on, and why.
    stuck_since timestamptz,
    stuck_reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT connector.now(),
    PRIMARY KEY (connector_id, id),
    UNIQUE (connector_id, integration_id, mechanism, object_key),
    CHECK ((intent_verb IS NULL) = (intent_since IS NULL)),
    CHECK (intent_verb IS NOT NULL OR intent_request IS NULL)
);

CREATE INDEX targets_due ON connector.targets (connector_id, integration_id, next_at)
    WHERE next_at IS NOT NULL;
CREATE INDEX targets_stuck ON connector.targets (connector_id, integration_id)
    WHERE stuck_since IS NOT NULL;
CREATE INDEX targets_under_way ON connector.targets (connector_id, integration_id, account_id)
    WHERE intent_verb IS NOT NULL;

-- One permission in one account, of a grant. The engine alone moves it on.
CREATE TABLE connector.units (
    connector_id text NOT NULL,
    grant_id text NOT NULL,
    number smallint NOT NULL,
    account_id text NOT NULL CHECK (account_id ~ '^\d{12}$'),
    permission_set text NOT NULL,
    permission_set_arn text NOT NULL,
    -- How long a session lasts at most that was begun with it.
    session_seconds integer NOT NULL CHECK (session_seconds > 0),
    -- NULL: the recipient was not looked up yet.
    target_id uuid,
    state text NOT NULL DEFAULT 'PENDING' CHECK (state IN (
        'PENDING', 'ACTIVE', 'REVOKING', 'SETTLING', 'ENDED', 'FAILED')),
    state_at timestamptz NOT NULL DEFAULT connector.now(),
    -- The wish that the state answers: `desired_version` of the grant.
    applied_version bigint NOT NULL DEFAULT 0,
    refusal text,
    finding text NOT NULL DEFAULT '',
    -- Its removal was given up: something of it may be left in AWS.
    is_forgotten boolean NOT NULL DEFAULT false CHECK (NOT is_forgotten OR state = 'ENDED'),
    PRIMARY KEY (connector_id, grant_id, number),
    FOREIGN KEY (connector_id, grant_id) REFERENCES connector.grants ON DELETE CASCADE,
    FOREIGN KEY (connector_id, target_id) REFERENCES connector.targets (connector_id, id),
    CHECK ((state = 'FAILED') = (refusal IS NOT NULL))
);

-- Holders: who has ended holds nothing.
CREATE INDEX units_by_target ON connector.units (connector_id, target_id)
    WHERE state NOT IN ('ENDED', 'FAILED');
CREATE INDEX units_open ON connector.units (connector_id, grant_id)
    WHERE state NOT IN ('ENDED', 'FAILED');
CREATE INDEX units_by_account ON connector.units (connector_id, account_id)
    WHERE state NOT IN ('ENDED', 'FAILED');

-- What was asked, by whom, and what was done in AWS for it: written with the change itself.
CREATE TABLE connector.acts (
    connector_id text NOT NULL REFERENCES connector.connectors,
    number bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT connector.now(),
    -- Empty: about what no grant holds any more.
    grant_id text NOT NULL DEFAULT '',
    verb text NOT NULL,
    -- The id of a token, `local` for the local socket, `connector` for ourselves.
    actor text NOT NULL,
    object text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, number)
);

CREATE INDEX acts_by_grant ON connector.acts (connector_id, grant_id, number);

CREATE FUNCTION connector.acts_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'acts are never changed or removed';
END $$;

CREATE TRIGGER acts_only_grow BEFORE UPDATE OR DELETE ON connector.acts
    FOR EACH ROW EXECUTE FUNCTION connector.acts_only_grow();

-- An integration that is removed with its access first. NULL: it is not being removed.
ALTER TABLE connector.integrations ADD COLUMN deleting_at timestamptz;
