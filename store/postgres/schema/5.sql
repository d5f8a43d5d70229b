-- Version 5: conversations. Times are Unix milliseconds.

-- What a member may do, and how far he is. The page has room so that a new mark is
-- an update in place.
ALTER TABLE member
    ADD COLUMN role      smallint NOT NULL DEFAULT 2, -- 1 reader, 2 member, 3 admin, 4 owner
    ADD COLUMN alerts    smallint NOT NULL DEFAULT 0, -- 0 as the namespace says, 1 all, 2 mentions, 3 none
    ADD COLUMN hidden    bigint   NOT NULL DEFAULT 0, -- messages up to this seq are not shown to him
    ADD COLUMN delivered bigint   NOT NULL DEFAULT 0, -- up to it they were
    ADD COLUMN read      bigint   NOT NULL DEFAULT 0, -- up to it he has read them
    SET (fillfactor = 85);

-- Another number after each change of a channel's members or settings. A sequence
-- gives them, as nobody asks for their order.
CREATE SEQUENCE roster_version;
ALTER TABLE group_size ADD COLUMN version bigint NOT NULL DEFAULT 0;
UPDATE group_size SET version = nextval('roster_version');

-- What is kept about a group.
CREATE TABLE conversation (
    channel bytea    PRIMARY KEY,
    data    bytea,             -- JSON; null: null
    rule    smallint NOT NULL, -- who brings users in: 1 admins, 2 members, 3 everybody
    created bigint   NOT NULL,
    version bigint   NOT NULL  -- as that of group_size, for as long as there are no members
);

-- Who does not want to be written to by whom.
CREATE TABLE peer_block (user_id bytea NOT NULL, peer bytea NOT NULL, since bigint NOT NULL, PRIMARY KEY (user_id, peer));

-- Messages of which absent members are still to be told.
CREATE TABLE alert (channel bytea NOT NULL, seq bigint NOT NULL, PRIMARY KEY (channel, seq));
