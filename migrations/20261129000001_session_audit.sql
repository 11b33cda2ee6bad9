-- Session audit: what was done with the access that was given.

-- How Identity Center names the sessions of the recipient; empty: not known, or nobody of its users.
ALTER TABLE connector.grants ADD COLUMN user_name text NOT NULL DEFAULT '';

-- When it was first seen to be there.
ALTER TABLE connector.units ADD COLUMN active_at timestamptz;

-- The role whose sessions a unit lets somebody open, of integrations whose sessions are audited.
CREATE TABLE connector.audited_units (
    connector_id text NOT NULL,
    grant_id text NOT NULL,
    number smallint NOT NULL,
    integration_id uuid NOT NULL,
    account_id text NOT NULL CHECK (account_id ~ '^\d{12}$'),
    permission_set text NOT NULL,
    session_name text NOT NULL,
    -- The actions that are allowed with it; none: whatever the permission set does.
    actions text[] NOT NULL,
    -- Empty: not found yet, or never.
    role_name text NOT NULL DEFAULT '',
    role_id text NOT NULL DEFAULT '',
    -- Whether the recipient had the access before the grant.
    was_there boolean NOT NULL DEFAULT false,
    -- When to ask for the role; NULL: it was found, or is not looked for any more.
    find_at timestamptz DEFAULT connector.now(),
    failures integer NOT NULL DEFAULT 0,
    -- Why AWS does not tell, a reason code and what it is about; empty: it does, or nobody has asked.
    trouble text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, grant_id, number),
    FOREIGN KEY (connector_id, grant_id, number) REFERENCES connector.units ON DELETE CASCADE
);

CREATE INDEX audited_units_by_session
    ON connector.audited_units (connector_id, integration_id, account_id, session_name);
CREATE INDEX audited_units_to_find ON connector.audited_units (connector_id, find_at)
    WHERE find_at IS NOT NULL;

-- Where the event history of an account is read for somebody: queue entry, lease and checkpoint in one.
CREATE TABLE connector.audit_places (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    account_id text NOT NULL,
    region text NOT NULL,
    session_name text NOT NULL,
    -- All that CloudTrail had told of before this time is stored.
    read_until timestamptz NOT NULL,
    -- When a reading last looked back as far as anything may be late.
    swept_until timestamptz NOT NULL,
    -- When it was read last; NULL: never.
    read_at timestamptz,
    -- When to read on; NULL: nobody can do anything there any more.
    next_at timestamptz,
    lease_token uuid,
    leased_until timestamptz,
    failures integer NOT NULL DEFAULT 0,
    -- Why it cannot be read, a reason code and what it is about; empty: it can.
    trouble text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, integration_id, account_id, region, session_name),
    FOREIGN KEY (connector_id, integration_id) REFERENCES connector.integrations (connector_id, id) ON DELETE CASCADE
);

CREATE INDEX audit_places_due ON connector.audit_places (connector_id, next_at)
    WHERE next_at IS NOT NULL;

-- What was done with access that was given: each event once. Events of a month lie in a table of their own.
CREATE TABLE connector.audit_events (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    at timestamptz NOT NULL,
    event_id text NOT NULL,
    account_id text NOT NULL,
    region text NOT NULL,
    -- Which source told it.
    source text NOT NULL,
    -- The session: what tells it from others.
    role_id text NOT NULL,
    session_name text NOT NULL,
    session_created_at timestamptz NOT NULL,
    access_key text NOT NULL,
    -- `s3.amazonaws.com`, `ListBuckets`.
    service text NOT NULL,
    name text NOT NULL,
    is_read_only boolean NOT NULL,
    -- Empty: it succeeded.
    error_code text NOT NULL,
    address text NOT NULL,
    agent text NOT NULL,
    resources text[] NOT NULL,
    -- Whose access it was done with; several where that cannot be told.
    grant_ids text[] NOT NULL,
    -- Why it is not certain; empty: it is.
    ambiguity text NOT NULL,
    -- As CloudTrail wrote it, compressed with gzip.
    record bytea NOT NULL,
    PRIMARY KEY (connector_id, integration_id, at, event_id, account_id)
) PARTITION BY RANGE (at);

CREATE INDEX audit_events_by_grant ON connector.audit_events USING gin (grant_ids);

-- Makes the table of the month of a time. Safe to call at any moment.
CREATE FUNCTION connector.make_audit_month(at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month date := date_trunc('month', at AT TIME ZONE 'UTC')::date;
    name text := 'audit_events_' || to_char(month, 'YYYY_MM');
BEGIN
    IF to_regclass('connector.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('connector.make_audit_month'));
    IF to_regclass('connector.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- To attach a table holds up neither readers nor writers; to make it as a part would.
    EXECUTE format('CREATE TABLE connector.%I (LIKE connector.audit_events INCLUDING ALL)', name);
    EXECUTE format(
        'ALTER TABLE connector.audit_events ATTACH PARTITION connector.%I FOR VALUES FROM (%L) TO (%L)',
        name, month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
END $$;
