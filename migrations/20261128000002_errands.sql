-- What a target is due for, the most urgent first: 0 revoke, 1 poll, 2 grant, 3 audit. It is told
-- with `next_at`, so that who looks for what is urgent reads nothing else: among a hundred
-- thousand targets that are to be seen again, the few that have ended are found at once.
ALTER TABLE connector.targets
    ADD COLUMN errand smallint NOT NULL DEFAULT 0 CHECK (errand BETWEEN 0 AND 3);

CREATE INDEX targets_by_errand
    ON connector.targets (connector_id, integration_id, errand, next_at)
    WHERE next_at IS NOT NULL;
