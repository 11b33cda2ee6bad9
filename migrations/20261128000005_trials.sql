-- What a unit gives is tried once, when it is there: rules of the organization may deny it.
ALTER TABLE connector.units
    -- When; NULL: it was, or need not be.
    ADD COLUMN try_at timestamptz,
    -- What was found.
    ADD COLUMN warning text NOT NULL DEFAULT '';

CREATE INDEX units_to_try ON connector.units (connector_id, try_at) WHERE try_at IS NOT NULL;
