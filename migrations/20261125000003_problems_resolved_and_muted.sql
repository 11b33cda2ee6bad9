-- Problems are resolved by themselves, and can be muted for a time.

ALTER TABLE connector.problems
    -- NULL: open. Set by the first sync that did not meet it.
    ADD COLUMN resolved_at timestamptz,
    -- Until then it does not count for the integration's status.
    ADD COLUMN muted_until timestamptz,
    -- Why, in the words of whoever muted it.
    ADD COLUMN mute_reason text CHECK (length(mute_reason) BETWEEN 1 AND 400),
    ADD CONSTRAINT problems_mute_check CHECK ((muted_until IS NULL) = (mute_reason IS NULL));
