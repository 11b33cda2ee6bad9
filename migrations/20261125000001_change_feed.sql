-- The change feed: every change of a resource has a revision of its integration, and
-- the newest state of each resource stands at the revision that made it.

CREATE TABLE connector.feeds (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    -- Revision of the newest change. Locked before the writes of a batch that has any, so
    -- that revisions become visible in their order.
    revision bigint NOT NULL DEFAULT 0,
    -- Removed resources up to this revision may have been purged: who follows from before
    -- it begins again.
    horizon bigint NOT NULL DEFAULT 0 CHECK (horizon <= revision),
    PRIMARY KEY (connector_id, integration_id),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

INSERT INTO connector.feeds (connector_id, integration_id, revision)
SELECT connector_id, id, 1 FROM connector.integrations;

ALTER TABLE connector.resources
    -- Of the last change.
    ADD COLUMN revision bigint NOT NULL DEFAULT 1 CHECK (revision > 0),
    -- Complete reads in a row that did not see it while the breaker held its removal.
    ADD COLUMN missing_reads smallint NOT NULL DEFAULT 0 CHECK (missing_reads >= 0);
ALTER TABLE connector.resources ALTER COLUMN revision DROP DEFAULT;

CREATE INDEX resources_by_revision ON connector.resources
    (connector_id, integration_id, revision, arn);

-- What is stored of a place, read whole before it is compared with AWS.
CREATE INDEX resources_by_place ON connector.resources
    (connector_id, integration_id, scope_account_id, scope_region, collector)
    WHERE gone_at IS NULL;
DROP INDEX connector.resources_by_scope;

-- What is gone, for the purge.
CREATE INDEX resources_gone ON connector.resources (gone_at) WHERE gone_at IS NOT NULL;

-- The breaker now remembers what is missing on the resource itself.
ALTER TABLE connector.scopes DROP COLUMN held_reads, DROP COLUMN held_digest;
