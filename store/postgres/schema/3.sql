-- Version 3: documents. They are channels whose messages are patches. The age of
-- these messages is 2^63 less than that of others: what is deleted by age alone
-- does not come across them.

-- Of a document the version of its newest snapshot, 0 when it has none; null: the
-- channel is no document. The floor is never above it.
ALTER TABLE channel ADD COLUMN snapshot bigint;
CREATE INDEX channel_document ON channel (namespace, id) WHERE snapshot IS NOT NULL;

-- The newest snapshot of each document that has one.
CREATE TABLE document (
    channel integer PRIMARY KEY,
    version bigint NOT NULL,
    time    bigint NOT NULL, -- Unix milliseconds
    data    bytea  NOT NULL  -- JSON
);
