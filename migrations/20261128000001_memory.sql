-- The database is the memory of what was granted. One that is older than what AWS has seen, because it
-- was restored from a copy, or because a standby took over that had not heard everything, must
-- not be acted upon as if it knew everything.

-- Which database was written last; one row, seen by the daemon every few seconds.
CREATE TABLE connector.memory (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    -- `connector.memory_place()` and `connector.memory_timeline()` of it.
    place text NOT NULL,
    timeline text NOT NULL,
    seen_at timestamptz NOT NULL
);

-- Tells a restored copy from the original: another cluster, another database, or tables that were
-- made anew. Where a server does not tell its identifier, the rest has to do.
CREATE FUNCTION connector.memory_place() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    tables text := (SELECT oid FROM pg_database WHERE datname = current_database())
        || '/' || 'connector.memory'::regclass::oid;
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system()) || '/' || tables;
EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN
    RETURN '-/' || tables;
END $$;

-- Another one after every fail-over, and after every recovery to a point in time.
CREATE FUNCTION connector.memory_timeline() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN left(pg_walfile_name(pg_current_wal_lsn()), 8);
EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN
    RETURN '-';
END $$;

ALTER TABLE connector.connectors
    -- Since when the memory is in doubt, until when it is whole, and why. NULL: it is not in doubt.
    ADD COLUMN recovering_since timestamptz,
    ADD COLUMN remembered_until timestamptz,
    ADD COLUMN recovery_cause text NOT NULL DEFAULT '',
    ADD CHECK ((recovering_since IS NULL) = (remembered_until IS NULL));

-- Whether nothing may be done in AWS for a connector. It is asked in every transaction that
-- something is done from, so that nothing is done before the daemon has noticed.
CREATE FUNCTION connector.is_recovering(id text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
            SELECT FROM connector.connectors
            WHERE connector_id = id AND recovering_since IS NOT NULL)
        OR NOT EXISTS (
            SELECT FROM connector.memory
            WHERE place = connector.memory_place() AND timeline = connector.memory_timeline())
$$;

-- What the acts know of requests is asked by the report.
CREATE INDEX acts_accepted ON connector.acts (connector_id, detail) WHERE verb = 'ACCEPTED';

-- How far the report on each integration is.
CREATE TABLE connector.recovery_reads (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    -- When all was read last; NULL: never.
    read_at timestamptz,
    next_at timestamptz NOT NULL,
    -- Why it could not be read.
    trouble text NOT NULL DEFAULT '',
    PRIMARY KEY (connector_id, integration_id),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

-- What was made or removed in AWS since, and this database knows nothing of.
CREATE TABLE connector.forgotten (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    -- AWS's id of the request.
    request_id text NOT NULL,
    verb text NOT NULL CHECK (verb IN ('create', 'delete')),
    at timestamptz NOT NULL,
    mechanism text NOT NULL,
    object_key text NOT NULL,
    object jsonb NOT NULL,
    account_id text NOT NULL,
    PRIMARY KEY (connector_id, integration_id, request_id),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);
