-- Version 4: users, and what is pushed to them. Times are Unix milliseconds.

-- Who was ever heard of. What is judged and written with each push stands in one row.
CREATE TABLE person (
    n          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bytea NOT NULL UNIQUE,
    zone       bytea,           -- the attribute tz; null: it is not known
    created    bigint NOT NULL,
    changed    bigint NOT NULL, -- 0: never
    top        bigint NOT NULL, -- seq of the newest delivery
    floor      bigint NOT NULL, -- deliveries up to it are no longer in the inbox
    settled    bigint NOT NULL, -- no delivery up to it is open
    open       bigint NOT NULL, -- how many are
    read       bigint NOT NULL, -- up to it the inbox was read
    merged     bigint NOT NULL, -- broadcasts up to it have their deliveries
    held       bigint NOT NULL DEFAULT 0, -- seq of the first that was held back, and of which the user was not told; 0: none was
    muted      bytea,           -- categories, a JSON list of texts
    counts     bytea,           -- what was counted, for caps
    attributes jsonb            -- a JSON object; null: nobody has said anything
) WITH (fillfactor = 70);
CREATE INDEX person_known ON person (user_id) WHERE attributes IS NOT NULL;

-- The texts in the attribute tags, apart from very long ones.
CREATE TABLE person_tag (tag bytea NOT NULL, n bigint NOT NULL, PRIMARY KEY (tag, n));

-- Places of attributes, as JSON Pointers, that have an index of their own.
CREATE TABLE person_field (field bytea PRIMARY KEY NOT NULL);

-- What is pushed, once for all who get it, and how many deliveries are in which state.
CREATE TABLE push (
    n         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id        bytea NOT NULL UNIQUE,
    time      bigint NOT NULL,
    event     bytea,             -- null: message
    data      bytea NOT NULL,    -- JSON
    category  bytea,
    policy    bytea,             -- JSON; null: none
    expires   bigint NOT NULL, -- 0: never
    expiring  bigint,          -- expires, until what was open then has been ended
    collapse  bytea,
    escalate  bigint NOT NULL, -- milliseconds; 0: never
    campaign  bytea,
    everyone  bigint,          -- a broadcast: its number, which rises; null: it is none
    audience  bigint NOT NULL, -- of a broadcast
    withdrawn bigint NOT NULL, -- when; 0: it was not
    ending    bigint NOT NULL, -- 0: more may be open; -1: nothing is; else it is being ended, from this person less one on
    queued    bigint NOT NULL DEFAULT 0,
    sent      bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    capped    bigint NOT NULL DEFAULT 0,
    muted     bigint NOT NULL DEFAULT 0,
    expired   bigint NOT NULL DEFAULT 0,
    recalled  bigint NOT NULL DEFAULT 0,
    failed    bigint NOT NULL DEFAULT 0,
    read      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX push_time ON push (time);
CREATE INDEX push_expiring ON push (expiring) WHERE expiring IS NOT NULL;
CREATE INDEX push_campaign ON push (campaign, n) WHERE campaign IS NOT NULL;
CREATE UNIQUE INDEX push_everyone ON push (everyone) WHERE everyone IS NOT NULL;

-- Keys that make a message be pushed once.
CREATE TABLE push_key (key bytea PRIMARY KEY NOT NULL, push bigint NOT NULL, digest bytea NOT NULL, expires bigint NOT NULL);
CREATE INDEX push_key_expires ON push_key (expires);
CREATE INDEX push_key_push ON push_key (push);

-- One message for one user: its place in the inbox and what became of it.
CREATE TABLE delivery (
    pos      bigint PRIMARY KEY, -- the time at which it was queued * 2^20 + a number
    person   bigint NOT NULL,
    seq      bigint NOT NULL,
    push     bigint NOT NULL,
    state    smallint NOT NULL,
    reason   smallint NOT NULL,    -- 0: none
    hidden   smallint NOT NULL,    -- 1: it is not shown in the inbox
    counted  bigint NOT NULL,    -- the time at which caps count it; 0: they do not
    sent     bigint NOT NULL,    -- 0: not, as below
    ended    bigint NOT NULL,    -- when it was delivered, or became another outcome
    read     bigint NOT NULL,
    rule     bytea,
    device   bytea,
    due      bigint,             -- put off until then
    escalate bigint              -- to be told of then, when it is still open
) WITH (fillfactor = 85);
CREATE SEQUENCE delivery_pos MAXVALUE 1048575 CYCLE CACHE 1;
CREATE UNIQUE INDEX delivery_person ON delivery (person, seq);
CREATE UNIQUE INDEX delivery_push ON delivery (push, person);
CREATE INDEX delivery_due ON delivery (due) WHERE due IS NOT NULL;
CREATE INDEX delivery_escalate ON delivery (escalate) WHERE escalate IS NOT NULL;

-- Policies by name, as their owner keeps them.
CREATE TABLE category (name bytea PRIMARY KEY NOT NULL, body bytea NOT NULL, changed bigint NOT NULL);

-- Jobs that push to many.
CREATE TABLE campaign (
    n       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      bytea NOT NULL UNIQUE,
    state   bytea NOT NULL,
    plan    bytea NOT NULL,
    notes   bytea NOT NULL,
    next    bigint NOT NULL, -- 0: nothing is to be done
    cursor  bytea NOT NULL,
    size    bigint NOT NULL, -- of its list
    created bigint NOT NULL,
    version bigint NOT NULL,
    owner   bytea NOT NULL,    -- empty: nobody
    until   bigint NOT NULL,
    due     bigint           -- as that of a schedule
);
CREATE INDEX campaign_due ON campaign (due, id) WHERE due IS NOT NULL;
CREATE INDEX campaign_state ON campaign (state, id);
CREATE TABLE campaign_user (campaign bigint NOT NULL, user_id bytea NOT NULL, PRIMARY KEY (campaign, user_id));

INSERT INTO counter (name, n) VALUES ('broadcast', 0), ('campaign', 0), ('pruned', 0);
