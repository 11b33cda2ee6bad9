-- What a unit needs in AWS: its targets, in stages. One of a later stage is made when those of the
-- earlier ones are there, and goes before them.
CREATE TABLE connector.holdings (
    connector_id text NOT NULL,
    grant_id text NOT NULL,
    number smallint NOT NULL,
    target_id uuid NOT NULL,
    stage smallint NOT NULL CHECK (stage >= 0),
    -- How the target stands, as far as this unit is concerned; the unit's state follows from all of its.
    state text NOT NULL DEFAULT 'PENDING' CHECK (state IN (
        'PENDING', 'ACTIVE', 'REVOKING', 'SETTLING', 'ENDED', 'FAILED')),
    -- What the unit adds to what is in the target; NULL: it needs no more than that it is there.
    share jsonb,
    PRIMARY KEY (connector_id, grant_id, number, target_id),
    FOREIGN KEY (connector_id, grant_id, number) REFERENCES connector.units ON DELETE CASCADE,
    FOREIGN KEY (connector_id, target_id) REFERENCES connector.targets (connector_id, id)
);

INSERT INTO connector.holdings (connector_id, grant_id, number, target_id, stage, state)
SELECT connector_id, grant_id, number, target_id, 0, state
FROM connector.units WHERE target_id IS NOT NULL;

CREATE INDEX holdings_by_target ON connector.holdings (connector_id, target_id);

-- No version was released that reads it.
ALTER TABLE connector.units DROP COLUMN target_id;

-- What AWS has told of a target that later stages need, such as the ARN of a permission set.
ALTER TABLE connector.targets ADD COLUMN facts jsonb NOT NULL DEFAULT '{}';
