-- The lease of an Identity Center instance serves what one replica does there, whatever for:
-- the crawl and the grants of one replica share it.
CREATE SEQUENCE connector.identity_center_fences;

ALTER TABLE connector.identity_centers
    -- Another one with every owner: what an owner before wrote late is told by it.
    ADD COLUMN fence bigint NOT NULL DEFAULT nextval('connector.identity_center_fences'),
    -- Until when each of the two needs it; `leased_until` is the later one.
    ADD COLUMN crawl_until timestamptz,
    ADD COLUMN grants_until timestamptz;
