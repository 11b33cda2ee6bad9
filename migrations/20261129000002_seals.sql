-- Acts are sealed in batches: a chain of digests, in which a change, a removal or an exchange shows.

ALTER TABLE connector.acts
    -- Its digest is salted, so that nobody finds out by trying what was erased.
    ADD COLUMN salt uuid,
    -- The seal that it is in; NULL: none yet.
    ADD COLUMN seal bigint CHECK (seal > 0);
-- Those that are there get theirs when they are sealed: nothing is written anew now.
ALTER TABLE connector.acts ALTER COLUMN salt SET DEFAULT gen_random_uuid();

CREATE INDEX acts_unsealed ON connector.acts (connector_id, number) WHERE seal IS NULL;
CREATE INDEX acts_by_seal ON connector.acts (connector_id, seal, number) WHERE seal IS NOT NULL;

CREATE TABLE connector.seals (
    connector_id text NOT NULL REFERENCES connector.connectors,
    -- From 1, without a gap.
    number bigint NOT NULL CHECK (number > 0),
    -- For each of its acts, in their order, the number (8 bytes) and the digest (32).
    leaves bytea NOT NULL CHECK (length(leaves) % 40 = 0 AND length(leaves) > 0),
    -- Of the seal before and the leaves.
    digest bytea NOT NULL CHECK (length(digest) = 32),
    sealed_at timestamptz NOT NULL DEFAULT connector.now(),
    PRIMARY KEY (connector_id, number)
);

CREATE FUNCTION connector.seals_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'seals are never changed or removed';
END $$;

CREATE TRIGGER seals_only_grow BEFORE UPDATE OR DELETE ON connector.seals
    FOR EACH ROW EXECUTE FUNCTION connector.seals_only_grow();

-- What tells of a person can be erased; what was sealed of it stays.
ALTER TABLE connector.acts
    -- The digest of object and details that were erased; NULL: they were not.
    ADD COLUMN erased bytea CHECK (length(erased) = 32);

-- When what tells of the recipient was erased; NULL: it was not.
ALTER TABLE connector.grants ADD COLUMN erased_at timestamptz;

-- What a seal holds of the object and the details of an act. `model::seal` says the same.
CREATE FUNCTION connector.personal_digest(salt uuid, object text, detail text)
RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(int8send(16) || uuid_send(salt)
        || int8send(octet_length(convert_to(object, 'UTF8'))::bigint) || convert_to(object, 'UTF8')
        || int8send(octet_length(convert_to(detail, 'UTF8'))::bigint) || convert_to(detail, 'UTF8'))
$$;

CREATE OR REPLACE FUNCTION connector.acts_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- That they come under a seal changes nothing in them.
    IF TG_OP = 'UPDATE' AND OLD.seal IS NULL
        AND (NEW.salt = OLD.salt OR OLD.salt IS NULL)
        AND to_jsonb(NEW) - ARRAY['seal', 'salt'] = to_jsonb(OLD) - ARRAY['seal', 'salt'] THEN
        RETURN NEW;
    END IF;
    -- What tells of a person goes when their grants are erased, and its digest takes its place.
    IF TG_OP = 'UPDATE' AND OLD.erased IS NULL
        AND (OLD.grant_id = '' AND OLD.object <> '' OR EXISTS (
            SELECT FROM connector.grants g
            WHERE (g.connector_id, g.grant_id) = (OLD.connector_id, OLD.grant_id)
              AND g.erased_at IS NOT NULL))
        AND NEW.erased = connector.personal_digest(
            coalesce(OLD.salt, '00000000-0000-0000-0000-000000000000'), OLD.object, OLD.detail)
        AND NEW.object = '' AND NEW.detail = ''
        AND NEW.salt = '00000000-0000-0000-0000-000000000000'
        AND to_jsonb(NEW) - ARRAY['erased', 'object', 'detail', 'salt']
            = to_jsonb(OLD) - ARRAY['erased', 'object', 'detail', 'salt'] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'acts are never changed or removed';
END $$;
