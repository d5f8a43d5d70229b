-- Version 6: the audit log, and secrets. Times are Unix milliseconds.

-- Who ran which verb. The page has room so that the outcome is an update beside its line.
CREATE TABLE audit (
    id        bytea PRIMARY KEY,  -- a ULID of the time
    time      bigint NOT NULL,
    who       bytea NOT NULL,
    kind      bytea NOT NULL,     -- of who
    role      bytea NOT NULL,
    address   bytea NOT NULL,
    verb      bytea NOT NULL,
    target    bytea NOT NULL,
    truncated smallint NOT NULL,  -- 1: there were more params than are kept
    outcome   bytea,              -- null: it succeeded; empty: nobody knows yet; else a code
    error     bytea NOT NULL,
    params    bytea NOT NULL      -- JSON; empty: none
) WITH (fillfactor = 85);
CREATE INDEX audit_who ON audit (who, id);
CREATE INDEX audit_verb ON audit (verb, id);
CREATE INDEX audit_outcome ON audit (outcome, id) WHERE outcome IS NOT NULL;

-- Values that have to be found by their names for a while; expires is 0 for those that stay.
CREATE TABLE secret (name bytea PRIMARY KEY, value bytea NOT NULL, expires bigint NOT NULL);
CREATE INDEX secret_expires ON secret (expires) WHERE expires > 0;

INSERT INTO counter (name, n) VALUES ('secret', 0);
