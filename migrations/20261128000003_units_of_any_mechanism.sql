-- A unit is a permission on a resource, given by a mechanism; what it needs in AWS is told by the
-- mechanism, but for who receives it. No version was released that reads the columns that go.
ALTER TABLE connector.units RENAME COLUMN permission_set TO permission;
ALTER TABLE connector.units
    ADD COLUMN mechanism text NOT NULL DEFAULT 'aws-account-assignment',
    -- ARN of the resource, and its type and name when it was granted. Empty ARN: the account itself.
    ADD COLUMN resource text NOT NULL DEFAULT '',
    ADD COLUMN resource_type text NOT NULL DEFAULT 'aws-account',
    ADD COLUMN resource_name text NOT NULL DEFAULT '',
    ADD COLUMN plan jsonb,
    -- Permission sets in accounts that it opens beside what it says, when the recipient was looked up.
    ADD COLUMN openings jsonb NOT NULL DEFAULT '[]';
UPDATE connector.units
SET plan = jsonb_build_object('account', account_id, 'permission_set', permission_set_arn);
ALTER TABLE connector.units
    ALTER COLUMN plan SET NOT NULL,
    ALTER COLUMN mechanism DROP DEFAULT,
    ALTER COLUMN resource DROP DEFAULT,
    ALTER COLUMN resource_type DROP DEFAULT,
    ALTER COLUMN resource_name DROP DEFAULT,
    DROP COLUMN permission_set_arn;

-- Of what one change at a time is made: an account for assignments, a group for memberships.
ALTER TABLE connector.targets RENAME COLUMN account_id TO place;

-- Who asks whether somebody may be granted something also asks what that would open.
ALTER TABLE connector.lookups
    ADD COLUMN plans jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN names text[] NOT NULL DEFAULT '{}',
    ADD COLUMN openings jsonb NOT NULL DEFAULT '[]';
