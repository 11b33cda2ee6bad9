-- Accounts that moved out of an excluded unit are announced for one sync before they
-- are crawled.

ALTER TABLE connector.accounts DROP CONSTRAINT accounts_coverage_check;
ALTER TABLE connector.accounts ADD CONSTRAINT accounts_coverage_check CHECK (coverage IN (
    'crawled', 'announced', 'excluded', 'outside', 'inactive', 'unknown_state', 'gone'));
