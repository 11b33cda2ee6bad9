-- What filters look for.

-- Tags are looked for by numbers: of each key, of each key with its value, and of these two
-- with the resource's type. They differ from integration to integration, so that a tag that
-- all customers have is not looked for among all of them; and unlike JSON they have
-- statistics, which tell rare from common.
CREATE FUNCTION connector.tag_key_term(integration_id uuid, key text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(key, hashtextextended(integration_id::text, 0))
$$;

CREATE FUNCTION connector.tag_term(integration_id uuid, key text, value text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(value, connector.tag_key_term(integration_id, key))
$$;

CREATE FUNCTION connector.tag_type_term(term bigint, type text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(type, term)
$$;

-- Of a value without the blanks around it, by which owners are looked for.
CREATE FUNCTION connector.tag_trimmed_term(integration_id uuid, key text, value text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(value, connector.tag_key_term(integration_id, key) # 1)
$$;

CREATE FUNCTION connector.tag_terms(integration_id uuid, type text, tags jsonb) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(term), '{}')
    FROM jsonb_each_text(tags) AS tag (key, value),
    LATERAL (
        SELECT connector.tag_key_term(integration_id, key)
        UNION ALL SELECT connector.tag_term(integration_id, key, value)
        UNION ALL SELECT connector.tag_type_term(connector.tag_term(integration_id, key, value), type)
        UNION ALL SELECT connector.tag_trimmed_term(integration_id, key, btrim(value, E' \t\r\n'))
        WHERE value <> btrim(value, E' \t\r\n')
    ) AS terms (term)
$$;

ALTER TABLE connector.resources
    ADD COLUMN tag_terms bigint[] GENERATED ALWAYS AS
        (connector.tag_terms(integration_id, type, tags)) STORED,
    ALTER COLUMN tag_terms SET STATISTICS 400;

-- Changes wait in a list that every search reads: a short one.
CREATE INDEX resources_by_tag ON connector.resources USING gin (tag_terms)
    WITH (gin_pending_list_limit = 512) WHERE gone_at IS NULL;

-- In the order of a page.
CREATE INDEX resources_by_type ON connector.resources (connector_id, integration_id, type, arn)
    WHERE gone_at IS NULL;

-- Parts of names. The extension comes with PostgreSQL's contrib package, and any owner of a
-- database may create it; whoever has it already may have it in a schema of its own.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
        CREATE EXTENSION pg_trgm WITH SCHEMA connector;
    END IF;
    EXECUTE format(
        'CREATE INDEX resources_by_text ON connector.resources
         USING gin (name %1$I.gin_trgm_ops, arn %1$I.gin_trgm_ops)
         WITH (gin_pending_list_limit = 512) WHERE gone_at IS NULL',
        (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
         WHERE e.extname = 'pg_trgm'));
EXCEPTION WHEN undefined_file OR feature_not_supported OR insufficient_privilege THEN
    RAISE EXCEPTION 'install the contrib package of PostgreSQL, or have an administrator run CREATE EXTENSION pg_trgm in this database, and start again (%)', SQLERRM;
END $$;
