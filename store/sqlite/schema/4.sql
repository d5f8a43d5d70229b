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
