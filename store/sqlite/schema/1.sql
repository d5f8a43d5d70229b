-- Version 1: channels, messages, idempotency keys.

-- epoch: which history this is. relaxed: the boot of the machine in which the
-- store was last opened without waiting for the disk at commits; gone after an
-- orderly end.
CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;

-- The words before the colon, so that a message carries a number.
CREATE TABLE namespace (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- Heads. Messages with floor < seq <= top can be read; those up to swept are
-- deleted, those between swept and floor wait for it.
CREATE TABLE channel (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    ns       INTEGER NOT NULL,
    top      INTEGER NOT NULL, -- of when the row was written; see head
    floor    INTEGER NOT NULL,
    swept    INTEGER NOT NULL,
    recalled INTEGER NOT NULL, -- what top was at the last recall
    recalls  INTEGER NOT NULL  -- how many messages were withdrawn, ever
);

-- Messages, in the order in which they came: the table only grows at its end.
CREATE TABLE message (
    pos      INTEGER PRIMARY KEY,
    ch       INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    age      INTEGER NOT NULL, -- namespace * 2^48 + Unix milliseconds
    id       BLOB NOT NULL,    -- the 10 random bytes of a ULID whose time is that of age; or its 26 characters
    event    TEXT,             -- null: message
    sender   BLOB,             -- null: none
    data     BLOB,             -- null in a stub
    recalled INTEGER           -- what top was when it became a stub
);
CREATE UNIQUE INDEX message_seq ON message (ch, seq);
CREATE INDEX message_age ON message (age);
CREATE INDEX message_foreign ON message (id) WHERE length(id) = 26;
CREATE INDEX message_recalled ON message (ch, seq) WHERE recalled IS NOT NULL;

-- Where channels end. A message alone moves the end of its channel, so that an
-- append changes no row of channel; top there is the end when the row was last
-- written, and rows are written whenever messages are deleted.
CREATE VIEW head AS
SELECT id, name, ns, floor, swept, recalled, recalls,
       max(top, coalesce((SELECT seq FROM message WHERE ch = channel.id ORDER BY seq DESC LIMIT 1), 0)) AS top
FROM channel;

-- Idempotency keys and what they gave.
CREATE TABLE idem (
    ch      INTEGER NOT NULL,
    key     BLOB NOT NULL,
    seq     INTEGER NOT NULL,
    id      TEXT NOT NULL,
    expires INTEGER NOT NULL,
    content BLOB,
    PRIMARY KEY (ch, key)
) WITHOUT ROWID;
CREATE INDEX idem_expires ON idem (expires);
