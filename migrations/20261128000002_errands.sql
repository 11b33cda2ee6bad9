-- What a target is due for, the most urgent first: 0 revoke, 1 poll, 2 grant, 3 audit. It is told
-- with `next_at`, so that who looks for what is urgent reads nothing else: among a hundred
-- thousand targets that are to be seen again, the few that have ended are found at once.
ALTER TABLE connector.targets
    ADD COLUMN errand smallint NOT NULL DEFAULT 0 CHECK (errand BETWEEN 0 AND 3),
    -- When the last of those who want it is over: from then on it is to be revoked, whatever it was
    -- due for. NULL: nobody wants it.
    ADD COLUMN unwanted_at timestamptz;

UPDATE connector.targets t
SET unwanted_at = live.until, errand = CASE WHEN t.intent_verb IS NULL THEN 3 ELSE 1 END
FROM (
    SELECT u.connector_id, u.target_id, max(least(g.expires_at, g.revoked_at)) AS until
    FROM connector.units u
    JOIN connector.grants g USING (connector_id, grant_id)
    WHERE u.state = 'ACTIVE'
    GROUP BY u.connector_id, u.target_id) AS live
WHERE t.connector_id = live.connector_id AND t.id = live.target_id AND t.next_at IS NOT NULL;

CREATE INDEX targets_by_errand
    ON connector.targets (connector_id, integration_id, errand, next_at)
    WHERE next_at IS NOT NULL;
CREATE INDEX targets_unwanted
    ON connector.targets (connector_id, integration_id, unwanted_at)
    WHERE next_at IS NOT NULL AND errand > 0;
