-- What resources were: a row for each version that was replaced by another, or went. The
-- present version stands in `resources`.
CREATE TABLE connector.resource_history (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    arn text NOT NULL,
    -- That of the change which made this version.
    revision bigint NOT NULL,
    type text NOT NULL,
    account_id text NOT NULL,
    region text NOT NULL,
    name text NOT NULL,
    tags jsonb NOT NULL,
    attributes jsonb NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    -- Whether the resource went then, or changed.
    went boolean NOT NULL,
    PRIMARY KEY (connector_id, integration_id, arn, revision),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);

CREATE INDEX resource_history_by_end ON connector.resource_history (ended_at);

-- What could not be read, and mere use, are written and make no version.
ALTER TABLE connector.resources
    -- When the present version began; NULL: with the last change.
    ADD COLUMN version_began_at timestamptz,
    -- Revision of the change that made it; NULL: that of the last change.
    ADD COLUMN version_revision bigint;
