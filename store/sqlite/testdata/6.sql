-- A file as schema version 6 left it.
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

-- Version 3: documents. They are channels whose messages are patches. The age of
-- these messages is 2^63 less than that of others: what is deleted by age alone
-- does not come across them.

-- Of a document the version of its newest snapshot, 0 when it has none; null: the
-- channel is no document. The floor is never above it.
ALTER TABLE channel ADD COLUMN snapshot INTEGER;
CREATE INDEX channel_document ON channel (ns, id) WHERE snapshot IS NOT NULL;

-- The newest snapshot of each document that has one.
CREATE TABLE document (
    ch      INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    time    INTEGER NOT NULL, -- Unix milliseconds
    data    BLOB NOT NULL     -- JSON
);

-- The same view as before, with the new column.
DROP VIEW head;
CREATE VIEW head AS
SELECT id, name, ns, floor, swept, recalled, recalls, snapshot,
       max(top, coalesce((SELECT seq FROM message WHERE ch = channel.id ORDER BY seq DESC LIMIT 1), 0)) AS top
FROM channel;

-- Version 4: users, and what is pushed to them. Times are Unix milliseconds.

-- Who was ever heard of. What is judged and written with each push stands in one row;
-- the attributes are last, so that a row can be read without them. A number is never
-- given again.
CREATE TABLE person (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    BLOB NOT NULL UNIQUE,
    zone       BLOB,             -- the attribute tz; null: it is not known
    created    INTEGER NOT NULL,
    changed    INTEGER NOT NULL, -- 0: never
    top        INTEGER NOT NULL, -- seq of the newest delivery
    floor      INTEGER NOT NULL, -- deliveries up to it are no longer in the inbox
    settled    INTEGER NOT NULL, -- no delivery up to it is open
    open       INTEGER NOT NULL, -- how many are
    read       INTEGER NOT NULL, -- up to it the inbox was read
    merged     INTEGER NOT NULL, -- broadcasts up to it have their deliveries
    held       INTEGER NOT NULL DEFAULT 0, -- seq of the first that was held back, and of which the user was not told; 0: none was
    muted      BLOB,             -- categories, a JSON list of texts
    counts     BLOB,             -- what was counted, for caps
    attributes BLOB              -- a JSON object, as JSONB; null: nobody has said anything
);
CREATE INDEX person_known ON person (user_id) WHERE attributes IS NOT NULL;

-- The texts in the attribute tags, apart from very long ones.
CREATE TABLE person_tag (tag BLOB NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (tag, n)) WITHOUT ROWID;

-- Places of attributes, as JSON Pointers, that have an index of their own.
CREATE TABLE person_field (field BLOB PRIMARY KEY NOT NULL) WITHOUT ROWID;

-- What is pushed, once for all who get it, and how many deliveries are in which state.
CREATE TABLE push (
    n         INTEGER PRIMARY KEY,
    id        BLOB NOT NULL UNIQUE,
    time      INTEGER NOT NULL,
    event     BLOB,             -- null: message
    data      BLOB NOT NULL,    -- JSON
    category  BLOB,
    policy    BLOB,             -- JSON; null: none
    expires   INTEGER NOT NULL, -- 0: never
    expiring  INTEGER,          -- expires, until what was open then has been ended
    collapse  BLOB,
    escalate  INTEGER NOT NULL, -- milliseconds; 0: never
    campaign  BLOB,
    everyone  INTEGER,          -- a broadcast: its number, which rises; null: it is none
    audience  INTEGER NOT NULL, -- of a broadcast
    withdrawn INTEGER NOT NULL, -- when; 0: it was not
    ending    INTEGER NOT NULL, -- 0: more may be open; -1: nothing is; else it is being ended, from this person less one on
    queued    INTEGER NOT NULL DEFAULT 0,
    sent      INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    capped    INTEGER NOT NULL DEFAULT 0,
    muted     INTEGER NOT NULL DEFAULT 0,
    expired   INTEGER NOT NULL DEFAULT 0,
    recalled  INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    read      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX push_time ON push (time);
CREATE INDEX push_expiring ON push (expiring) WHERE expiring IS NOT NULL;
CREATE INDEX push_campaign ON push (campaign, n) WHERE campaign IS NOT NULL;
CREATE UNIQUE INDEX push_everyone ON push (everyone) WHERE everyone IS NOT NULL;

-- Keys that make a message be pushed once.
CREATE TABLE push_key (key BLOB PRIMARY KEY NOT NULL, push INTEGER NOT NULL, digest BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX push_key_expires ON push_key (expires);
CREATE INDEX push_key_push ON push_key (push);

-- One message for one user: its place in the inbox and what became of it.
CREATE TABLE delivery (
    pos      INTEGER PRIMARY KEY, -- the time at which it was queued * 2^20 + a number: it only rises
    person   INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    push     INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    reason   INTEGER NOT NULL,    -- 0: none
    hidden   INTEGER NOT NULL,    -- 1: it is not shown in the inbox
    counted  INTEGER NOT NULL,    -- the time at which caps count it; 0: they do not
    sent     INTEGER NOT NULL,    -- 0: not, as below
    ended    INTEGER NOT NULL,    -- when it was delivered, or became another outcome
    read     INTEGER NOT NULL,
    rule     BLOB,
    device   BLOB,
    due      INTEGER,             -- put off until then
    escalate INTEGER              -- to be told of then, when it is still open
);
CREATE UNIQUE INDEX delivery_person ON delivery (person, seq);
CREATE UNIQUE INDEX delivery_push ON delivery (push, person);
CREATE INDEX delivery_due ON delivery (due) WHERE due IS NOT NULL;
CREATE INDEX delivery_escalate ON delivery (escalate) WHERE escalate IS NOT NULL;

-- Policies by name, as their owner keeps them.
CREATE TABLE category (name BLOB PRIMARY KEY NOT NULL, body BLOB NOT NULL, changed INTEGER NOT NULL) WITHOUT ROWID;

-- Jobs that push to many.
CREATE TABLE campaign (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    id      BLOB NOT NULL UNIQUE,
    state   BLOB NOT NULL,
    plan    BLOB NOT NULL,
    notes   BLOB NOT NULL,
    next    INTEGER NOT NULL, -- 0: nothing is to be done
    cursor  BLOB NOT NULL,
    size    INTEGER NOT NULL, -- of its list
    created INTEGER NOT NULL,
    version INTEGER NOT NULL,
    owner   BLOB NOT NULL,    -- empty: nobody
    until   INTEGER NOT NULL,
    due     INTEGER           -- as that of a schedule
);
CREATE INDEX campaign_due ON campaign (due, id) WHERE due IS NOT NULL;
CREATE INDEX campaign_state ON campaign (state, id);
CREATE TABLE campaign_user (campaign INTEGER NOT NULL, user_id BLOB NOT NULL, PRIMARY KEY (campaign, user_id)) WITHOUT ROWID;

INSERT INTO counter VALUES ('broadcast', 0), ('campaign', 0), ('pruned', 0);

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

INSERT INTO meta VALUES ('epoch', 'anepochofold');
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
INSERT INTO namespace VALUES (1, 'room'), (2, 'doc'), (3, 'team');
INSERT INTO channel VALUES (1, 'room:1', 1, 4, 1, 0, 4, 1, NULL);
INSERT INTO message VALUES (1, 1, 1, 283238060785663, x'00000000000000000001', NULL, NULL, '"one"', NULL);
INSERT INTO message VALUES (2, 1, 2, 283238060785663, x'00000000000000000002', 'said', x'03616e6e0000', '"two"', NULL);
INSERT INTO message VALUES (3, 1, 3, 283238060785663, x'00000000000000000003', NULL, NULL, NULL, 4);
INSERT INTO message VALUES (4, 1, 4, 283238060785663, x'00000000000000000004', NULL, NULL, '"four"', NULL);
INSERT INTO channel VALUES (2, 'doc:1', 2, 1, 1, 0, 0, 0, 2);
INSERT INTO message VALUES (5, 2, 1, -9222807323817279489, x'00000000000000000005', NULL, NULL, '1', NULL);
INSERT INTO message VALUES (6, 2, 2, -9222807323817279489, x'00000000000000000006', NULL, NULL, '2', NULL);
INSERT INTO message VALUES (7, 2, 3, -9222807323817279489, x'00000000000000000007', NULL, NULL, '3', NULL);
INSERT INTO document VALUES (2, 2, 1763084076005, CAST('{"a":2}' AS BLOB));
INSERT INTO idem VALUES (1, CAST('key' AS BLOB), 4, '01K9ZZZZZZ0000000000000004', 1763084076007, CAST('content' AS BLOB));
INSERT INTO member (channel, user_id, since) VALUES (CAST('room:1' AS BLOB), CAST('ann' AS BLOB), 1763084076001), (CAST('room:1' AS BLOB), CAST('bob' AS BLOB), 1763084076002);
INSERT INTO group_size VALUES (CAST('room:1' AS BLOB), 2, 1);
INSERT INTO schedule VALUES (CAST('daily' AS BLOB), CAST('plan' AS BLOB), CAST('state' AS BLOB), 1763084076000, 9, CAST('node' AS BLOB), 1763084077000, 1763084077000);
INSERT INTO denial VALUES (5, CAST('eve' AS BLOB), x'', x'', 1, 1763084076000, CAST('why' AS BLOB), 1763084076003, 1763084079000, 1);
INSERT INTO seen VALUES (CAST('ann' AS BLOB), CAST('phone' AS BLOB), 1763084076004);
UPDATE counter SET n = 9 WHERE name = 'schedule';
UPDATE counter SET n = 7 WHERE name = 'denial';
INSERT INTO person (n, user_id, zone, created, changed, top, floor, settled, open, read, merged, muted, attributes) VALUES
    (3, CAST('ann' AS BLOB), CAST('Europe/Berlin' AS BLOB), 1763084076000, 1763084076001, 1, 0, 0, 1, 0, 0, NULL, jsonb('{"level":7,"tags":["vip"],"tz":"Europe/Berlin"}')),
    (4, CAST('bob' AS BLOB), NULL, 1763084076002, 0, 0, 0, 0, 0, 0, 0, CAST('["news"]' AS BLOB), NULL);
UPDATE sqlite_sequence SET seq = 5 WHERE name = 'person';
INSERT INTO person_tag VALUES (CAST('vip' AS BLOB), 3);
INSERT INTO category VALUES (CAST('news' AS BLOB), CAST('body' AS BLOB), 1763084076000);
INSERT INTO campaign VALUES (1, CAST('spring' AS BLOB), CAST('running' AS BLOB), CAST('plan' AS BLOB), CAST('notes' AS BLOB), 1763084076000, CAST('half' AS BLOB), 2, 1763084075999, 6, CAST('node' AS BLOB), 1763084077000, 1763084077000);
INSERT INTO campaign_user VALUES (1, CAST('ann' AS BLOB)), (1, CAST('bob' AS BLOB));
UPDATE counter SET n = 6 WHERE name = 'campaign';
INSERT INTO push (id, time, data, expires, ending, escalate, audience, withdrawn, queued) VALUES (CAST('01K9ZZZZZZ0000000000000009' AS BLOB), 1763084076007, CAST('"pushed"' AS BLOB), 0, 0, 0, 0, 0, 1);
INSERT INTO delivery (pos, person, seq, push, state, reason, hidden, counted, sent, ended, read) VALUES (1763084076007 << 20, 3, 1, 1, 1, 0, 0, 0, 0, 0, 0);
INSERT INTO channel VALUES (3, 'team:1', 3, 2, 0, 0, 2, 1, NULL);
INSERT INTO message VALUES (8, 3, 1, 846188014207969, x'00000000000000000008', NULL, x'03616e6e000200010103626f62', CAST('"edited"' AS BLOB), 2);
INSERT INTO message VALUES (9, 3, 2, 846188014207970, x'00000000000000000009', NULL, x'03626f620000', CAST('2' AS BLOB), NULL);
INSERT INTO member VALUES (CAST('team:1' AS BLOB), CAST('ann' AS BLOB), 1763084076000, 4, 0, 1, 1, 2), (CAST('team:1' AS BLOB), CAST('bob' AS BLOB), 1763084076000, 2, 0, 2, 2, 0);
INSERT INTO group_size VALUES (CAST('team:1' AS BLOB), 2, 8);
UPDATE counter SET n = 8 WHERE name = 'roster';
INSERT INTO conversation VALUES (CAST('team:1' AS BLOB), CAST('{"title":"Us"}' AS BLOB), 3, 1763084076000, 5);
INSERT INTO peer_block VALUES (CAST('ann' AS BLOB), CAST('eve' AS BLOB), 1763084076000);
INSERT INTO alert VALUES (CAST('team:1' AS BLOB), 2);
INSERT INTO audit VALUES (CAST('01K9ZZZZZZ000000000000000A' AS BLOB), 1763084075007, CAST('ann' AS BLOB), CAST('console' AS BLOB), CAST('admin' AS BLOB), CAST('192.0.2.1' AS BLOB), CAST('users.delete' AS BLOB), CAST('bob' AS BLOB), 0, CAST('denied' AS BLOB), CAST('no' AS BLOB), CAST('{"users":["bob"]}' AS BLOB));
INSERT INTO audit VALUES (CAST('01K9ZZZZZZ000000000000000B' AS BLOB), 1763084075007, CAST('backend' AS BLOB), CAST('key' AS BLOB), x'', x'', CAST('categories.put' AS BLOB), x'', 1, NULL, x'', x'');
INSERT INTO audit VALUES (CAST('01K9ZZZZZZ000000000000000C' AS BLOB), 1763084075007, CAST('backend' AS BLOB), CAST('key' AS BLOB), x'', x'', CAST('schedules.run' AS BLOB), x'', 0, x'', x'', x'');
INSERT INTO secret VALUES (CAST('key' AS BLOB), x'00ff', 0), (CAST('link' AS BLOB), x'', 1763084075016);
PRAGMA user_version = 6;
