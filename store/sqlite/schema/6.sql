-- Version 6: the audit log, and secrets. Times are Unix milliseconds.

-- Who ran which verb. The params are last, so that a line can be judged without them.
CREATE TABLE audit (
    id        BLOB PRIMARY KEY NOT NULL, -- a ULID of the time
    time      INTEGER NOT NULL,
    who       BLOB NOT NULL,
    kind      BLOB NOT NULL,    -- of who
    role      BLOB NOT NULL,
    address   BLOB NOT NULL,
    verb      BLOB NOT NULL,
    target    BLOB NOT NULL,
    truncated INTEGER NOT NULL, -- 1: there were more params than are kept
    outcome   BLOB,             -- null: it succeeded; empty: nobody knows yet; else a code
    error     BLOB NOT NULL,
    params    BLOB NOT NULL     -- JSON; empty: none
);
CREATE INDEX audit_who ON audit (who, id);
CREATE INDEX audit_verb ON audit (verb, id);
CREATE INDEX audit_outcome ON audit (outcome, id) WHERE outcome IS NOT NULL;

-- Values that have to be found by their names for a while; expires is 0 for those that stay.
CREATE TABLE secret (name BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX secret_expires ON secret (expires) WHERE expires > 0;

INSERT INTO counter VALUES ('secret', 0);
