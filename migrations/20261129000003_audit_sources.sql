-- Session audit from several sources.

-- Which source is read there. One that is asked for a name at a time has a place for each; one that tells of a
-- whole account has one without a name.
ALTER TABLE connector.audit_places
    ADD COLUMN source text NOT NULL DEFAULT 'cloudtrail-event-history',
    DROP CONSTRAINT audit_places_pkey,
    ADD PRIMARY KEY (connector_id, integration_id, account_id, region, source, session_name);

-- The queues that are told of new log files of trails: lease and how it goes.
CREATE TABLE connector.trail_queues (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    -- When to ask it next.
    next_at timestamptz NOT NULL DEFAULT connector.now(),
    lease_token uuid,
    leased_until timestamptz,
    failures integer NOT NULL DEFAULT 0,
    -- Why it cannot be read, a reason code and what it is about; empty: it can.
    trouble text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, integration_id),
    FOREIGN KEY (connector_id, integration_id) REFERENCES connector.integrations (connector_id, id) ON DELETE CASCADE
);
