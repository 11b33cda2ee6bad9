-- What a unit gives is tried once, when it is there: rules of the organization may deny it.
ALTER TABLE connector.units
    -- When; infinity: it is not there yet; NULL: it was tried, or need not be.
    ADD COLUMN try_at timestamptz,
    -- What was found.
    ADD COLUMN warning text NOT NULL DEFAULT '';

CREATE INDEX units_to_try ON connector.units (connector_id, try_at) WHERE try_at IS NOT NULL;

-- Who waits until a call whose answer was lost has settled asks for it by its place.
CREATE INDEX targets_in_doubt ON connector.targets (connector_id, integration_id, place)
    WHERE doubt_create OR doubt_delete;
