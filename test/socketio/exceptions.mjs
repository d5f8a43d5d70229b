// What the Node reference (socket.io 4.8.4, engine.io 6.6.12) is known to get
// wrong, by file and test. With --reference these tests have to fail.

const lenientEIO = "whatever is not exactly 4 is served as version 3";
const badBody = "it closes the session, but answers 200 ok";
const noPayload = "it does not look at a payload that is missing";
const unbounded = "its write queue has no bound";
const textPolls = "it answers polls in text, which this client ignores in a browser";
const method500 = "it answers 500";

export const exceptions = {
  "engineio4.test.mjs": {
    "polling: EIO left out is refused with code 5": lenientEIO,
    'polling: EIO "abc" is refused with code 5': lenientEIO,
    'polling: EIO "5" is refused with code 5': lenientEIO,
    'polling: EIO "04" is refused with code 5': lenientEIO,
    'polling: EIO "4abc" is refused with code 5': lenientEIO,
    'polling: EIO "" is refused with code 5': lenientEIO,
    "websocket: EIO left out is refused": lenientEIO,
    'websocket: EIO "abc" is refused': lenientEIO,
    "polling: a POST that cannot be read is answered by 400 or dropped": badBody,
    "polling: PUT with a sid is refused by 400 or 405": method500,
    "polling: DELETE with a sid is refused by 400 or 405": method500,
    "polling: PATCH with a sid is refused by 400 or 405": method500,
    "upgrade: a second websocket for a session that began on one ends, the first lives on": "it takes it for an upgrade and keeps it until the session ends",
  },
  "engineio3.test.mjs": {
    "polling: JSON-P is refused by 400": "it still serves JSON-P",
    "polling with t=<13 digits>-<n>: every answer is binary, the handshake too, and posted text is UTF-8 twice over": textPolls,
    "polling: a POST that cannot be read is answered by 400 or dropped": badBody,
    "polling: a POST with a length of zero closes the session": "it ignores the packet",
    "polling: a POST of octets cut short closes the session": "it takes what is there for the packet",
    "polling: a POST of octets with a kind that is neither 0 nor 1 closes the session": "it ignores the packet",
    "websocket: binary of an unknown type closes the session": "it ignores the frame",
    "websocket: empty binary closes the session": "it ignores the frame",
  },
  "socketio5.test.mjs": {
    "polling: a bad EIO is refused": lenientEIO,
    "websocket: a bad EIO is refused": lenientEIO,
    "disconnect: leaving and joining again fit into one body": "it leaves a tick later, and closes for a second connect",
    "event: integers beyond 2^53 keep their digits": "it reads numbers as doubles",
  },
  "malformed.test.mjs": {
    'bad packet: "42" closes the connection': noPayload,
    'bad packet: "421" closes the connection': noPayload,
    'bad packet: "43" closes the connection': noPayload,
    'bad packet: "431" closes the connection': noPayload,
    'bad packet: "42 1["message"]" closes the connection': "it reads a space as a digit",
    "bad packet: a placeholder whose num is 0.5 closes the connection": "it takes any number between 0 and the count",
  },
  "hostile.test.mjs": {
    "megabytes queued for a poll that never comes are bounded: the session is closed": unbounded,
    "megabytes for a websocket that is not read are bounded: it is closed, or read no more": unbounded,
  },
  "recovery.test.mjs": {
    "a session is recovered once: a second claim gets a session of its own": "it keeps a stored session until it expires",
    "a client of Engine.IO 3 sees neither pid nor offset": "it appends the offset for every client",
  },
  "browser.test.mjs": {
    "client 1.3.5 in a browser, polling: namespace, named and unnamed events, acks both ways": textPolls,
    "client 1.3.5 in a browser, polling: bytes come back, alone and nested": textPolls,
    "client 1.3.5 in a browser, upgrade: namespace, named and unnamed events, acks both ways": textPolls,
    "client 1.3.5 in a browser, upgrade: bytes come back, alone and nested": textPolls,
  },
};
