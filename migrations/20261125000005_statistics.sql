-- A table that was nearly empty when a plan was made for it is read whole by that plan, for
-- as long as PostgreSQL does not count it again: autovacuum looks once a minute, and a
-- first sync fills these tables within seconds.

-- Counts the tables that have more than doubled since they were counted. Answers how many.
CREATE FUNCTION connector.analyze_grown() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    grown text;
    counted bigint := 0;
BEGIN
    FOR grown IN
        SELECT s.relname FROM pg_stat_user_tables s
        JOIN pg_class c ON c.oid = s.relid
        WHERE s.schemaname = 'connector'
          AND s.n_mod_since_analyze > 500 + greatest(c.reltuples, 0)
          -- Others may not.
          AND pg_has_role(c.relowner, 'USAGE')
    LOOP
        -- Whom a replica counts already is passed over.
        EXECUTE format('ANALYZE (SKIP_LOCKED) connector.%I', grown);
        counted := counted + 1;
    END LOOP;
    RETURN counted;
END $$;
