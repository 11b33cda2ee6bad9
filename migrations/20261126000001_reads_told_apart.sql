ALTER TABLE connector.scopes
    -- Why it could not be read. A scope whose removals are held was read whole: that
    -- reason tells of a problem, not of a gap.
    ADD COLUMN unread_reason text GENERATED ALWAYS AS (nullif(reason, 'REMOVAL_HELD')) STORED;

ALTER TABLE connector.integrations
    -- When it was switched on last: from then on it can be late.
    ADD COLUMN enabled_at timestamptz;
UPDATE connector.integrations SET enabled_at = created_at;
ALTER TABLE connector.integrations
    ALTER COLUMN enabled_at SET DEFAULT connector.now(),
    ALTER COLUMN enabled_at SET NOT NULL;

ALTER TABLE connector.resources
    -- Generation of the last of the missing reads: a group that is read twice in one sync,
    -- because its lease ran out, counts once. NULL: none, or released.
    ADD COLUMN missing_generation bigint;
