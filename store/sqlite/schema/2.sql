-- Version 2: members, schedules, who is not let in, who was there. Names and ids
-- are BLOBs, so that their order is that of bytes.

-- Who is a member of which channel.
CREATE TABLE member (
    channel BLOB NOT NULL,
    user_id BLOB NOT NULL,
    since   INTEGER NOT NULL, -- Unix milliseconds, as are all times
    PRIMARY KEY (channel, user_id)
) WITHOUT ROWID;
CREATE INDEX member_user ON member (user_id, channel);

-- How many members a channel has; no row: none.
CREATE TABLE group_size (channel BLOB PRIMARY KEY NOT NULL, n INTEGER NOT NULL) WITHOUT ROWID;

-- What is due at times.
CREATE TABLE schedule (
    name    BLOB PRIMARY KEY NOT NULL,
    plan    BLOB NOT NULL,
    state   BLOB NOT NULL,
    next    INTEGER NOT NULL, -- 0: never
    version INTEGER NOT NULL,
    owner   BLOB NOT NULL,    -- who has claimed it; empty: nobody
    until   INTEGER NOT NULL, -- for how long; 0: nobody has
    due     INTEGER           -- when it can be claimed: next, or until when that is later; null: never
);
CREATE INDEX schedule_due ON schedule (due, name) WHERE due IS NOT NULL;

-- Who, or which token, is not let in. Each change gives another seq.
CREATE TABLE denial (
    seq     INTEGER PRIMARY KEY,
    user_id BLOB NOT NULL,
    device  BLOB NOT NULL,
    token   BLOB NOT NULL,
    dated   INTEGER NOT NULL, -- 1: about tokens issued up to before; 0: about every way in
    before  INTEGER NOT NULL,
    reason  BLOB NOT NULL,
    said    INTEGER NOT NULL,
    expires INTEGER NOT NULL, -- 0: never
    lifted  INTEGER NOT NULL  -- 1: taken back
);
CREATE UNIQUE INDEX denial_who ON denial (user_id, device, token, dated);
CREATE INDEX denial_expires ON denial (expires) WHERE expires > 0;

-- When users were last there, and with which device.
CREATE TABLE seen (user_id BLOB PRIMARY KEY NOT NULL, device BLOB NOT NULL, seen_at INTEGER NOT NULL) WITHOUT ROWID;

-- The last version of a schedule and the last seq of a denial that were given.
CREATE TABLE counter (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('denial', 0), ('schedule', 0), ('seen', 0);
