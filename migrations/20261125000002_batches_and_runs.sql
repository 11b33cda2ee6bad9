-- Groups are leased in a fair order and end in batches; scopes tell how their last
-- read went.

ALTER TABLE connector.sync_groups
    -- Groups of one sync are leased by turn: every account has its n-th turn before any
    -- has its next one.
    ADD COLUMN turn integer NOT NULL DEFAULT 0 CHECK (turn >= 0),
    -- How long it took lately; within a turn the longest goes first.
    ADD COLUMN expected_ms integer NOT NULL DEFAULT 0 CHECK (expected_ms >= 0);
-- A lease or a heartbeat changes no indexed column, and finds room on its own page.
ALTER TABLE connector.sync_groups SET (fillfactor = 50);

CREATE INDEX sync_groups_ready ON connector.sync_groups
    (connector_id, sync_id, turn, expected_ms DESC, account_id, region)
    WHERE NOT done;
DROP INDEX connector.sync_groups_open;

ALTER TABLE connector.syncs
    -- Groups that are not done; whoever brings it to nothing ends the sync.
    ADD COLUMN groups_open bigint NOT NULL DEFAULT 0 CHECK (groups_open >= 0),
    -- Live resources when it began, for the breaker.
    ADD COLUMN resources_before bigint NOT NULL DEFAULT 0;
UPDATE connector.syncs s SET groups_open = (
    SELECT count(*) FROM connector.sync_groups g
    WHERE g.connector_id = s.connector_id AND g.sync_id = s.id AND NOT g.done)
WHERE s.ended_at IS NULL;

ALTER TABLE connector.scopes
    -- The last read that ended, from its first call to its last page.
    ADD COLUMN took_ms integer NOT NULL DEFAULT 0,
    -- Of that, waiting for budgets.
    ADD COLUMN waited_ms integer NOT NULL DEFAULT 0,
    ADD COLUMN calls integer NOT NULL DEFAULT 0,
    ADD COLUMN throttles integer NOT NULL DEFAULT 0,
    ADD COLUMN pages integer NOT NULL DEFAULT 0,
    ADD COLUMN seen bigint NOT NULL DEFAULT 0,
    ADD COLUMN written bigint NOT NULL DEFAULT 0,
    ADD COLUMN gone bigint NOT NULL DEFAULT 0,
    -- A moving average of took_ms.
    ADD COLUMN expected_ms integer NOT NULL DEFAULT 0 CHECK (expected_ms >= 0);
ALTER TABLE connector.scopes SET (fillfactor = 70);
