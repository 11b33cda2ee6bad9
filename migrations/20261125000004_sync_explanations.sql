-- Where the time of a sync went, kept at its end: the next sync writes over the scopes.

ALTER TABLE connector.syncs
    -- `store::runs::Explanation`; NULL: it has not ended, or was cancelled.
    ADD COLUMN explanation jsonb;
