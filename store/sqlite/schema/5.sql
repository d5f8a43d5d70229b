-- Version 5: conversations. Times are Unix milliseconds.

-- What a member may do, and how far he is.
ALTER TABLE member ADD COLUMN role INTEGER NOT NULL DEFAULT 2;      -- 1 reader, 2 member, 3 admin, 4 owner
ALTER TABLE member ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;    -- messages up to this seq are not shown to him
ALTER TABLE member ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0; -- up to it they were
ALTER TABLE member ADD COLUMN read INTEGER NOT NULL DEFAULT 0;      -- up to it he has read them
ALTER TABLE member ADD COLUMN alerts INTEGER NOT NULL DEFAULT 0;    -- 0 as the namespace says, 1 all, 2 mentions, 3 none

-- Another number after each change of a channel's members or settings; the last one
-- that was given stands in counter.
ALTER TABLE group_size ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
UPDATE group_size SET version = 1;
INSERT INTO counter VALUES ('roster', 1);

-- What is kept about a group.
CREATE TABLE conversation (
    channel BLOB PRIMARY KEY NOT NULL,
    data    BLOB,             -- JSON; null: null
    rule    INTEGER NOT NULL, -- who brings users in: 1 admins, 2 members, 3 everybody
    created INTEGER NOT NULL,
    version INTEGER NOT NULL  -- as that of group_size, for as long as there are no members
) WITHOUT ROWID;

-- Who does not want to be written to by whom.
CREATE TABLE peer_block (user_id BLOB NOT NULL, peer BLOB NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (user_id, peer)) WITHOUT ROWID;

-- Messages of which absent members are still to be told.
CREATE TABLE alert (channel BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (channel, seq)) WITHOUT ROWID;
