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
