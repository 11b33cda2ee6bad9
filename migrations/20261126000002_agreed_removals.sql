ALTER TABLE connector.syncs
    -- Of the resources that went, those whose removal had been held until enough reads agreed,
    -- or somebody released it: they say nothing of the sync's other removals.
    ADD COLUMN resources_agreed bigint NOT NULL DEFAULT 0;
