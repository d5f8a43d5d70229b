-- Version 2: members, schedules, who is not let in, who was there.

-- Who is a member of which channel.
CREATE TABLE member (
    channel bytea  NOT NULL,
    user_id bytea  NOT NULL,
    since   bigint NOT NULL, -- Unix milliseconds, as are all times
    PRIMARY KEY (channel, user_id)
);
CREATE INDEX member_user ON member (user_id, channel);

-- How many members a channel has; no row: none. The lock on a row stands for all
-- memberships of the channel.
CREATE TABLE group_size (
    channel bytea  PRIMARY KEY,
    n       bigint NOT NULL
) WITH (fillfactor = 75);

-- What is due at times.
CREATE TABLE schedule (
    name    bytea  PRIMARY KEY,
    plan    bytea  NOT NULL,
    state   bytea  NOT NULL,
    next    bigint NOT NULL, -- 0: never
    version bigint NOT NULL,
    owner   bytea  NOT NULL, -- who has claimed it; empty: nobody
    until   bigint NOT NULL, -- for how long; 0: nobody has
    due     bigint           -- when it can be claimed: next, or until when that is later; null: never
);
CREATE INDEX schedule_due ON schedule (due, name) WHERE due IS NOT NULL;

-- Who, or which token, is not let in. Each change gives another seq.
CREATE TABLE denial (
    seq     bigint   PRIMARY KEY,
    user_id bytea    NOT NULL,
    device  bytea    NOT NULL,
    token   bytea    NOT NULL,
    before  bigint   NOT NULL,
    reason  bytea    NOT NULL,
    said    bigint   NOT NULL,
    expires bigint   NOT NULL, -- 0: never
    dated   smallint NOT NULL, -- 1: about tokens issued up to before; 0: about every way in
    lifted  smallint NOT NULL  -- 1: taken back
);
CREATE UNIQUE INDEX denial_who ON denial (user_id, device, token, dated);
CREATE INDEX denial_expires ON denial (expires) WHERE expires > 0;

-- When users were last there, and with which device.
CREATE TABLE seen (
    user_id bytea  PRIMARY KEY,
    device  bytea  NOT NULL,
    seen_at bigint NOT NULL
) WITH (fillfactor = 90);

-- The last version of a schedule and the last seq of a denial that were given.
-- Whoever changes a schedule or a denial locks its row first: a sequence would
-- give numbers that are committed in another order. That of seen is a lock alone.
CREATE TABLE counter (
    name text   PRIMARY KEY,
    n    bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO counter (name, n) VALUES ('denial', 0), ('schedule', 0), ('seen', 0);
