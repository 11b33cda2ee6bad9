-- Who calls the Identity Center instance of an organization. AWS counts calls and operations
-- by instance, so one replica at a time does whatever is done there, and its budgets are all
-- that there is to keep.
CREATE TABLE connector.identity_centers (
    connector_id text NOT NULL,
    integration_id uuid NOT NULL,
    lease_owner uuid NOT NULL,
    leased_until timestamptz NOT NULL,
    PRIMARY KEY (connector_id, integration_id),
    FOREIGN KEY (connector_id, integration_id)
        REFERENCES connector.integrations ON DELETE CASCADE
);
