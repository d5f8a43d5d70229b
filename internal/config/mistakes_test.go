package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMistakesAreToldWithTheirPlace leaves out the excerpts; the scripts of the
// command line show those.
func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		opt        Options
		want       []string
	}{
		{"misspelt keys", "hartbeat: {interval: 5s}\nauth: {timout: 1s, anon: true}\nLimits: {}\nlimits: {perAddress: 5}\n", Options{}, []string{
			"skein.yaml:1:1: unknown key `hartbeat`; did you mean `heartbeat`?",
			"skein.yaml:2:8: auth: unknown key `timout`; did you mean `timeout`?",
			"skein.yaml:2:20: auth: unknown key `anon`; did you mean `anonymous`?",
			"skein.yaml:3:1: unknown key `Limits`; did you mean `limits`?",
			"skein.yaml:4:10: limits: unknown key `perAddress`; did you mean `per_address`?",
		}},
		{"a key in the wrong section", "timeout: 1s\nperAddress: 5\n", Options{}, []string{
			"skein.yaml:1:1: unknown key `timeout` here; there is `auth.timeout` and `hooks.timeout` and `drain.timeout`",
			"skein.yaml:2:1: unknown key `perAddress` here; there is `limits.per_address`",
		}},
		{"a key that means nothing", "foo: 1\napi: {kees: 1, bar: 2}\n", Options{}, []string{
			"skein.yaml:1:1: unknown key `foo`; the keys here are listen, tls, data, database, durability, origins, trusted_proxies, auth, api, heartbeat, limits, rates, websocket, socketio, hooks, online, namespaces, users, push, categories, console, audit, drain, log, demos",
			"skein.yaml:2:7: api: unknown key `kees`; did you mean `keys`?",
			"skein.yaml:2:16: api: unknown key `bar`; the keys here are keys",
		}},
		{"keys and values of other versions", "cluster: {nats: x}\nhooks: {}\nnamespaces: {room: {kind: log, history: member, subscribe: member}}\n", Options{}, []string{
			"skein.yaml:1:1: this version runs as one node; `cluster` is not available in it",
		}},
		{"rules for documents", "limits: {document: 10, ops: 0}\nnamespaces:\n  room: {patch: user, rules: [\"/a write user\"], schema: x.json}\n  game: {kind: doc, patch: everybody, history: user, schema: nowhere.json, rules: [\"/a\", \"a write user\", \"/a/**/b write user\", \"/{team} write user\", \"/a write member\", \"/a read role: write user\", \"/a write user write user\"]}\n", Options{}, []string{
			"skein.yaml:1:20: limits.document: 10 is not between 1024 and 16777216",
			"skein.yaml:1:29: limits.ops: 0 stands for the default, 1000; write that, or leave it out",
			"skein.yaml:3:17: namespaces.room.patch: is about documents; it belongs to kind: doc",
			"skein.yaml:3:30: namespaces.room.rules: is about documents; it belongs to kind: doc",
			"skein.yaml:3:57: namespaces.room.schema: is about documents; it belongs to kind: doc",
			`skein.yaml:4:28: namespaces.game.patch: "everybody" is not one of anyone, user, member, token, server`,
			"skein.yaml:4:48: namespaces.game.history: is about messages that are kept; it belongs to kind: log",
			"skein.yaml:4:62: namespaces.game.schema: stat nowhere.json: no such file or directory",
			`skein.yaml:4:84: namespaces.game.rules[0]: "/a" is not a path with read or write and who may, such as "/players/{user}/** write user"`,
			`skein.yaml:4:90: namespaces.game.rules[1]: "a" is not a path such as /players/{user}/**`,
			`skein.yaml:4:106: namespaces.game.rules[2]: "/a/**/b": a part is a member's name, * or {user}; ** may only be the last`,
			`skein.yaml:4:128: namespaces.game.rules[3]: "/{team}": a part is a member's name, * or {user}; ** may only be the last`,
			`skein.yaml:4:150: namespaces.game.rules[4]: "member" is not one of anyone, user, server, role:NAME`,
			`skein.yaml:4:169: namespaces.game.rules[5]: "" is not a role; use 1 to 64 letters, digits, '_', '.', '-'`,
			`skein.yaml:4:197: namespaces.game.rules[6]: "/a write user write user": after the path stand read and write, each at most once`,
		}},
		{"rules for what is kept", "database: mysql://x\ndurability: some\nlimits: {recent: 5}\nnamespaces: {tick: {history: user, keep: {count: 1}}, room: {kind: log, history: all, keep: {count: -1, age: 5ms}}}\n", Options{}, []string{
			"skein.yaml:1:11: database: is not the URL of a PostgreSQL database; write postgres://user:password@host/name",
			"skein.yaml:2:13: durability: \"some\" is not one of full, relaxed",
			"skein.yaml:3:18: limits.recent: 5 is not between 1048576 and 1099511627776",
			"skein.yaml:4:30: namespaces.tick.history: is about messages that are kept; it belongs to kind: log",
			"skein.yaml:4:36: namespaces.tick.keep: an event channel keeps nothing; it belongs to kind: log or doc",
			"skein.yaml:4:82: namespaces.room.history: \"all\" is not one of anyone, user, member, token, server",
			"skein.yaml:4:101: namespaces.room.keep.count: -1 is not between 0 and 9007199254740991",
			"skein.yaml:4:110: namespaces.room.keep.age: 5ms is not between 1s and 876000h",
		}},
		{"rules for the console", "api: {keys: [{name: \"console:ann\", hash: x, scopes: [\"*\"]}]}\nconsole:\n  session: 721h\n  users:\n    - {name: Ann, role: operator, password: \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\"}\n    - {name: bob, role: boss, password: hunter2}\n    - {name: bob, role: viewer, password: \"$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\"}\n    - {name: link, role: admin, pasword: x}\n", Options{}, []string{
			`skein.yaml:1:21: api.keys[0].name: "console:ann" begins as users of the console do in the audit log and for rates; choose another name`,
			"skein.yaml:1:42: api.keys[0].hash: not a hash; it is sha256: and 64 hex digits, as skein key prints it",
			"skein.yaml:3:12: console.session: 721h is not between 1m and 720h",
			`skein.yaml:5:14: console.users[0].name: "Ann" is not a name; use lower-case letters, digits, '.', '_', '-', at most 64`,
			`skein.yaml:6:25: console.users[1].role: "boss" is not one of viewer, operator, admin`,
			"skein.yaml:6:41: console.users[1].password: not a hash of a password; it is $argon2id$v=19$m=…,t=…,p=…$…$…, as skein console user prints it",
			`skein.yaml:7:14: console.users[2].name: "bob" is used twice`,
			"skein.yaml:7:43: console.users[2].password: m=1048576 KiB is not between 1024 and 262144",
			"skein.yaml:8:7: console.users[3].password: not a hash of a password; it is $argon2id$v=19$m=…,t=…,p=…$…$…, as skein console user prints it",
			`skein.yaml:8:14: console.users[3].name: "link" is whoever comes by a one-time link; choose another name`,
			"skein.yaml:8:33: console.users[3]: unknown key `pasword`; did you mean `password`?",
		}},
		{"rules for the audit log", "audit: {keep: -1s, keeep: 5}\n", Options{}, []string{
			"skein.yaml:1:15: audit.keep: -1s is not between 0s and 87840h",
			"skein.yaml:1:20: audit: unknown key `keeep`; did you mean `keep`?",
		}},
		{"rules for conversations", "namespaces:\n  a: {kind: log, chat: {kind: groupe, peers: b}}\n  b: {chat: {kind: direct}}\n  c: {kind: log, chat: {follow: false}}\n  d: {kind: log, subscribe: anyone, history: user, chat: {kind: direct, history: start, create: user, join: open, members: 5, marks: 5, alerts: {most: 5}, peers: nobody}}\n  e: {kind: log, chat: {kind: group, history: all, create: anyone, join: nobody, members: 1, marks: -1, edit: -1s, recall: 1y, peers: any, alerts: {category: A, mentions: b c, most: -2}}}\n  f: {kind: log, chat: {kind: direct, peers: d, folow: true}}\n", Options{}, []string{
			"skein.yaml:2:31: namespaces.a.chat.kind: \"groupe\" is not one of direct, group; did you mean `group`?",
			`skein.yaml:2:46: namespaces.a.chat.peers: the channels of "b" are between two users; nobody is together in them`,
			"skein.yaml:3:7: namespaces.b.chat: conversations are kept; they belong to kind: log",
			"skein.yaml:4:18: namespaces.c.chat.kind: is missing; it is direct or group",
			`skein.yaml:5:29: namespaces.d.subscribe: "anyone" is nobody's right in a conversation; it is for its members: write member, token or server`,
			`skein.yaml:5:46: namespaces.d.history: "user" is nobody's right in a conversation; it is for its members: write member, token or server`,
			"skein.yaml:5:82: namespaces.d.chat.history: is about groups; it belongs to kind: group",
			"skein.yaml:5:97: namespaces.d.chat.create: is about groups; it belongs to kind: group",
			"skein.yaml:5:109: namespaces.d.chat.join: is about groups; it belongs to kind: group",
			"skein.yaml:5:124: namespaces.d.chat.members: is about groups; it belongs to kind: group",
			"skein.yaml:5:134: namespaces.d.chat.marks: is about groups; it belongs to kind: group",
			"skein.yaml:5:152: namespaces.d.chat.alerts.most: is about groups; it belongs to kind: group",
			`skein.yaml:5:163: namespaces.d.chat.peers: "nobody" is not any, not known, and not configured under namespaces`,
			`skein.yaml:6:47: namespaces.e.chat.history: "all" is not one of join, start`,
			`skein.yaml:6:60: namespaces.e.chat.create: "anyone" is not one of user, token, server`,
			`skein.yaml:6:74: namespaces.e.chat.join: "nobody" is not one of admins, members, open`,
			"skein.yaml:6:91: namespaces.e.chat.members: 1 is not between 2 and 1000000",
			"skein.yaml:6:101: namespaces.e.chat.marks: -1 is not between 1 and 100000",
			"skein.yaml:6:111: namespaces.e.chat.edit: -1s is not between 0s and 87840h",
			`skein.yaml:6:124: namespaces.e.chat.recall: "1y" is not a duration; write a number and a unit: 500ms, 15s, 10m, 24h`,
			"skein.yaml:6:135: namespaces.e.chat.peers: is about who may write to whom; it belongs to kind: direct",
			`skein.yaml:6:159: namespaces.e.chat.alerts.category: "A" is not the name of a category; use lower-case letters, digits, '_', '.', '-', at most 64`,
			`skein.yaml:6:172: namespaces.e.chat.alerts.mentions: "b c" is not the name of a category; use lower-case letters, digits, '_', '.', '-', at most 64`,
			"skein.yaml:6:183: namespaces.e.chat.alerts.most: -2 is not between 1 and 100000",
			`skein.yaml:7:46: namespaces.f.chat.peers: the channels of "d" are between two users; nobody is together in them`,
			"skein.yaml:7:49: namespaces.f.chat: unknown key `folow`; did you mean `follow`?",
		}},
		{"rules for pushes", "push: {zone: Mars/Phobos, keep: {count: 0, age: 1s}, records: 2h, window: 0, ack_retries: -2}\nusers: {index: [city, \"#tag\", \"#tags\", /a~2]}\ncategories:\n  A: {}\n  a: {caps: [5, \"5/day\", \"5 per month\", \"2000 per day\", \"1 per 1000h\"], quiet: 22-8, on_cap: hold, priority: 12, mutable: 1}\n  b: {parent: c, counts: true, ttl: 1ms}\n  c: {parent: b, quiet: \"08:00-08:00\"}\n  d: {parent: x, bypass: true, quiet: \"25:00-08:00\", on_quiet: drop}\n  e: {quiet: \"20:00-08:00\", bypass: true}\n", Options{}, []string{
			`skein.yaml:1:14: push.zone: "Mars/Phobos" is not a time zone; write one such as Europe/Berlin`,
			"skein.yaml:1:41: push.keep.count: 0 stands for the default, 1000; write that, or leave it out",
			"skein.yaml:1:49: push.keep.age: 1s is not between 1m and 87840h",
			"skein.yaml:1:75: push.window: 0 stands for the default, 100; write that, or leave it out",
			"skein.yaml:1:91: push.ack_retries: -2 is not between -1 and 1000",
			`skein.yaml:2:17: users.index[0]: "city" is not a JSON Pointer such as /city; the tags are #tags`,
			`skein.yaml:2:23: users.index[1]: "#tag" is not a JSON Pointer such as /city; the tags are #tags`,
			`skein.yaml:2:40: users.index[3]: "/a~2" is not a JSON Pointer such as /city; the tags are #tags`,
			`skein.yaml:4:3: categories.A: "A" is not a name; use lower-case letters, digits, '_', '.', '-', at most 64`,
			"skein.yaml:5:14: categories.a.caps[0]: expected text, found the number 5; put it in quotes",
			`skein.yaml:5:17: categories.a.caps[1]: "5/day" is not a cap; write a number, per, and day, week, hour or a duration: 5 per day, 2 per 90m`,
			`skein.yaml:5:26: categories.a.caps[2]: "5 per month": per: "month" is not day, week, hour or a duration from 1s to 720h such as 90m`,
			`skein.yaml:5:41: categories.a.caps[3]: "2000 per day": max: 2000 is not between 0 and 1000`,
			`skein.yaml:5:57: categories.a.caps[4]: "1 per 1000h": per: "1000h" is not day, week, hour or a duration from 1s to 720h such as 90m`,
			`skein.yaml:5:80: categories.a.quiet: "22-8" is not a stretch of the day; write it as 22:00-08:00`,
			`skein.yaml:5:94: categories.a.on_cap: "hold" is not one of inbox, drop, defer`,
			"skein.yaml:5:110: categories.a.priority: 12 is not between 0 and 9",
			"skein.yaml:5:123: categories.a.mutable: expected true or false, found the number 1",
			`skein.yaml:6:15: categories.b.parent: "c" has this one above it`,
			"skein.yaml:6:26: categories.b.counts: belongs to bypass; without it everything counts",
			"skein.yaml:6:37: categories.b.ttl: 1ms is not between 1s and 8784h",
			`skein.yaml:7:15: categories.c.parent: "b" has this one above it`,
			`skein.yaml:7:25: categories.c.quiet: "08:00-08:00": begins when it ends`,
			`skein.yaml:8:15: categories.d.parent: "x" is not configured under categories`,
			`skein.yaml:8:39: categories.d.quiet: "25:00" is not a time of day from 00:00 to 23:59`,
			"skein.yaml:8:39: categories.d.quiet: does not hold with bypass",
			`skein.yaml:8:64: categories.d.on_quiet: "drop" is not one of defer, inbox, ignore`,
			"skein.yaml:9:14: categories.e.quiet: does not hold with bypass",
		}},
		{"numbers where text belongs", "listen: 8000\nauth: {jwt: {issuer: true, audience: 1.5}}\n", Options{}, []string{
			`skein.yaml:1:9: listen: expected text, found the number 8000; put it in quotes`,
			`skein.yaml:2:22: auth.jwt.issuer: expected text, found true; put it in quotes`,
			`skein.yaml:2:38: auth.jwt.audience: expected text, found the number 1.5; put it in quotes`,
		}},
		{"text where numbers belong", "heartbeat: {misses: \"3\"}\nlimits: {depth: deep, subscriptions: 1.5, connections: 99999999999}\n", Options{}, []string{
			`skein.yaml:1:21: heartbeat.misses: expected a whole number, found the text "3"; leave the quotes out`,
			`skein.yaml:2:17: limits.depth: expected a whole number, found the text "deep"`,
			`skein.yaml:2:38: limits.subscriptions: expected a whole number, found the number 1.5`,
			`skein.yaml:2:56: limits.connections: "99999999999" is not a whole number within 32 bits`,
		}},
		{"words where true or false belongs", "auth: {anonymous: yes}\ndemos: 1\n", Options{}, []string{
			`skein.yaml:1:19: auth.anonymous: expected true or false, found the text "yes"`,
			`skein.yaml:2:8: demos: expected true or false, found the number 1`,
		}},
		{"durations and sizes", "auth: {timeout: 15}\nheartbeat: {interval: 1 minute}\nlimits: {message: 1TB, frame: 12x, queue: -1}\n", Options{}, []string{
			`skein.yaml:1:17: auth.timeout: "15" is not a duration; write a number and a unit: 500ms, 15s, 10m, 24h`,
			`skein.yaml:2:23: heartbeat.interval: "1 minute" is not a duration; write a number and a unit: 500ms, 15s, 10m, 24h`,
			`skein.yaml:3:19: limits.message: "1TB" is not a size; write bytes or a number and a unit: 4096, 64KiB, 1MiB`,
			`skein.yaml:3:31: limits.frame: "12x" is not a size; write bytes or a number and a unit: 4096, 64KiB, 1MiB`,
			`skein.yaml:3:43: limits.queue: "-1" is not a size; write bytes or a number and a unit: 4096, 64KiB, 1MiB`,
		}},
		{"a list that is none", "origins: https://a.example\ntrusted_proxies: {a: b}\napi: {keys: {a: b}}\n", Options{}, []string{
			`skein.yaml:1:10: origins: expected a list of texts, found the text "https://a.example"; put it in brackets: [https://a.example]`,
			`skein.yaml:2:18: trusted_proxies: expected a list of texts, found a map`,
			`skein.yaml:3:13: api.keys: expected a list, found a map`,
		}},
		{"a section that is none", "limits: 5\ntls: [a]\nnamespaces: [a]\n", Options{}, []string{
			`skein.yaml:1:9: limits: expected a section with keys, found the number 5; its keys are message, frame, queue, connections, per_address, subscriptions, frames_per_second, handshake, depth, body, recent, document, documents, ops`,
			`skein.yaml:2:6: tls: expected a section with keys, found a list; its keys are cert, key`,
			`skein.yaml:3:13: namespaces: expected a map of names, found a list`,
		}},
		{"keys without values", "listen:\nauth:\n  timeout: ~\n", Options{}, []string{
			`skein.yaml:1:8: listen: has no value; write one, or leave the key out`,
			`skein.yaml:3:12: auth.timeout: has no value; write one, or leave the key out`,
		}},
		{"zeros that do not mean zero", "listen: \"\"\nauth: {timeout: 0}\nheartbeat: {misses: 0}\n", Options{}, []string{
			`skein.yaml:1:9: listen: "" stands for the default, 127.0.0.1:8000; write that, or leave it out`,
			`skein.yaml:2:17: auth.timeout: 0s stands for the default, 15s; write that, or leave it out`,
			`skein.yaml:3:21: heartbeat.misses: 0 stands for the default, 3; write that, or leave it out`,
		}},
		{"values out of bounds", "heartbeat: {misses: 200, interval: 1ms}\nlimits: {message: 1, frame: 1}\ndrain: {spread: 2h}\n", Options{}, []string{
			`skein.yaml:1:21: heartbeat.misses: 200 is not between 1 and 100`,
			`skein.yaml:1:36: heartbeat.interval: 1ms is not between 100ms and 1h`,
			`skein.yaml:2:19: limits.message: 1 is not between 128 and 67108864`,
			`skein.yaml:2:29: limits.frame: 1 is not between 128 and 67108864`,
			`skein.yaml:3:17: drain.spread: 2h is not between 1ms and 1h`,
		}},
		{"values that are none of those allowed", "websocket: {driver: epol}\nlog: {level: warning, format: xml}\nnamespaces: {Room: {kind: evnt, presence: all}}\n", Options{}, []string{
			"skein.yaml:1:21: websocket.driver: \"epol\" is not one of auto, epoll, portable; did you mean `epoll`?",
			"skein.yaml:2:14: log.level: \"warning\" is not one of debug, info, warn, error; did you mean `warn`?",
			`skein.yaml:2:31: log.format: "xml" is not one of auto, text, json`,
			`skein.yaml:3:14: namespaces.Room: "Room" is not a name; use lower-case letters, digits, '_', '.', '-', at most 64`,
			"skein.yaml:3:27: namespaces.Room.kind: \"evnt\" is not one of event, log, doc; did you mean `event`?",
			`skein.yaml:3:43: namespaces.Room.presence: "all" is not one of none, counts, members`,
		}},
		{"keys of the API", "api:\n  keys:\n    - name: a\n      hash: sha1:abc\n    - {name: a, hash: \"\", scopes: [\"*\"]}\n", Options{}, []string{
			`skein.yaml:3:7: api.keys[0].scopes: without scopes the key can do nothing; ["*"] allows every verb`,
			`skein.yaml:4:13: api.keys[0].hash: not a hash; it is sha256: and 64 hex digits, as skein key prints it`,
			`skein.yaml:5:14: api.keys[1].name: "a" is used twice`,
			`skein.yaml:5:23: api.keys[1].hash: not a hash; it is sha256: and 64 hex digits, as skein key prints it`,
		}},
		{"files that are not there", "tls: {cert: nope.pem, key: nokey.pem}\nauth: {jwt: {public_keys: [none.pem, \"-----BEGIN X\"]}}\n", Options{}, []string{
			`skein.yaml:1:13: tls.cert: cannot read nope.pem: no such file or directory`,
			`skein.yaml:1:28: tls.key: cannot read nokey.pem: no such file or directory`,
			`skein.yaml:2:28: auth.jwt.public_keys[0]: open none.pem: no such file or directory`,
			`skein.yaml:2:38: auth.jwt.public_keys[1]: no PEM block in it`,
		}},
		{"one TLS file", "tls: {cert: nope.pem}\n", Options{}, []string{
			`skein.yaml:1:1: tls: cert and key go together; one of them is missing`,
		}},
		{"addresses", "listen: localhost\norigins: [\"https://ok.example\", example.com]\ntrusted_proxies: [10.0.0.0]\nauth: {jwt: {jwks: \"ftp://x\"}}\n", Options{}, []string{
			`skein.yaml:1:9: listen: "localhost" is not an address; write host:port`,
			`skein.yaml:2:33: origins[1]: "example.com" is not an origin; write scheme://host[:port] without a path, or "*"`,
			`skein.yaml:3:19: trusted_proxies[0]: "10.0.0.0" is not a network; write it as 10.0.0.0/8`,
			`skein.yaml:4:20: auth.jwt.jwks: "ftp://x" is not an http or https URL`,
		}},
		{"a short secret", "auth: {jwt: {hmac_secret: short}}\n", Options{}, []string{
			`skein.yaml:1:27: auth.jwt.hmac_secret: 5 bytes are too short for HS256; at least 32 are needed (RFC 7518 section 3.2)`,
		}},
		{"a key twice", "listen: 127.0.0.1:1\nauth: {timeout: 1s, timeout: 2s}\nlisten: 127.0.0.1:2\n", Options{}, []string{
			`skein.yaml:2:21: auth.timeout: is there twice; the first is on line 2`,
			`skein.yaml:3:1: listen: is there twice; the first is on line 1`,
		}},
		{"not YAML", "a: b: c\n", Options{}, []string{
			`skein.yaml:1:4: not YAML: mapping value is not allowed in this context`,
		}},
		{"a tab", "auth:\n\ttimeout: 1s\n", Options{}, []string{
			`skein.yaml:2:1: not YAML: found character tab that cannot start any token; indent with spaces`,
		}},
		{"wrong indentation", "auth:\n  timeout: 15s\n   anonymous: true\n", Options{}, []string{
			`skein.yaml:2:12: not YAML: mapping value is not allowed in this context`,
		}},
		{"an open bracket", "auth: {timeout: 1s\nlog: {level: info}\n", Options{}, []string{
			`skein.yaml:2:1: not YAML: ',' or '}' must be specified`,
		}},
		{"an open quote", "listen: \"127.0.0.1:80\nauth: {}\n", Options{}, []string{
			`skein.yaml:1:9: not YAML: could not find end character of double-quoted text`,
		}},
		{"another shape than a map", "- listen: x\n", Options{}, []string{
			`skein.yaml:1:1: expected a section with keys, found a list; its keys are listen, tls, data, database, durability, origins, trusted_proxies, auth, api, heartbeat, limits, rates, websocket, socketio, hooks, online, namespaces, users, push, categories, console, audit, drain, log, demos`,
		}},
		{"a second document", "demos: true\n---\ndemos: false\n", Options{}, []string{
			`skein.yaml:3:1: a second document; everything belongs into one`,
		}},
		{"a tag", "listen: !!str 5\n", Options{}, []string{
			`skein.yaml:1:9: listen: expected text, found the tag !!str`,
		}},
		{"aliases", "listen: *nope\nnamespaces: {a: &a {kind: event}, b: &a {}, <<: 5}\n", Options{}, []string{
			`skein.yaml:1:9: there is no anchor &nope`,
			`skein.yaml:2:38: the anchor &a is there twice`,
			`skein.yaml:2:49: namespaces: << takes a map, not the number 5`,
		}},
		{"not UTF-8", "demos: true\nlisten: \xff\n", Options{}, []string{
			`skein.yaml:2:1: the text is not UTF-8`,
		}},
		{"Windows line ends", "demos: true\r\nauth: {timeout: x}\r\n", Options{}, []string{
			`skein.yaml:2:17: auth.timeout: "x" is not a duration; write a number and a unit: 500ms, 15s, 10m, 24h`,
		}},
		{"a variable nobody knows", "", Options{Env: []string{"SKEIN_AUTH_TIMOUT=1s", "SKEIN_FOO=1", "SKEIN_DATABASE=x", "SKEIN_CLUSTER_NATS=x", "SKEIN_AUTH=x"}}, []string{
			`SKEIN_AUTH: there is no such setting; did you mean SKEIN_AUTH_TIMEOUT?`,
			`SKEIN_AUTH_TIMOUT: there is no such setting; did you mean SKEIN_AUTH_TIMEOUT?`,
			"SKEIN_CLUSTER_NATS: this version runs as one node; `cluster` is not available in it",
			"SKEIN_DATABASE: is not the URL of a PostgreSQL database; write postgres://user:password@host/name",
			"SKEIN_FOO: there is no such setting; `skein config explain --json` lists the variables",
		}},
		{"variables with wrong values", "", Options{Env: []string{"SKEIN_AUTH_TIMEOUT=15", "SKEIN_AUTH_ANONYMOUS=yes", "SKEIN_LIMITS_DEPTH=x", "SKEIN_LIMITS_BODY=1", "SKEIN_ORIGINS=https://ok.example,nope", "SKEIN_AUTH_JWT_HMAC_SECRET=short", "SKEIN_TLS_CERT=x"}}, []string{
			`SKEIN_AUTH_ANONYMOUS: "yes" is not true or false`,
			`SKEIN_AUTH_JWT_HMAC_SECRET: 5 bytes are too short for HS256; at least 32 are needed (RFC 7518 section 3.2)`,
			`SKEIN_AUTH_TIMEOUT: "15" is not a duration; write a number and a unit: 500ms, 15s, 10m, 24h`,
			`SKEIN_LIMITS_BODY: 1 is not between 1024 and 1073741824`,
			`SKEIN_LIMITS_DEPTH: "x" is not a whole number within 32 bits`,
			`SKEIN_ORIGINS: "nope" is not an origin; write scheme://host[:port] without a path, or "*"`,
			`SKEIN_TLS_CERT: cert and key go together; one of them is missing`,
		}},
		{"variables that are YAML", "", Options{Env: []string{"SKEIN_NAMESPACES={room: {kind: evnt, foo: 1}}", "SKEIN_API_KEYS=[{name: x}", "SKEIN_TRUSTED_PROXIES=[a, 5]"}}, []string{
			`SKEIN_API_KEYS:1:1: not YAML: sequence end token ']' not found`,
			"SKEIN_NAMESPACES:1:15: namespaces.room.kind: \"evnt\" is not one of event, log, doc; did you mean `event`?",
			"SKEIN_NAMESPACES:1:21: namespaces.room: unknown key `foo`; the keys here are kind, subscribe, publish, presence, presence_max, presence_grace, presence_to, history, keep, patch, rules, schema, chat",
			`SKEIN_TRUSTED_PROXIES:1:2: trusted_proxies[0]: "a" is not a network; write it as 10.0.0.0/8`,
			`SKEIN_TRUSTED_PROXIES:1:5: trusted_proxies[1]: expected text, found the number 5; put it in quotes`,
		}},
		{"flags", "log: {level: loud}\n", Options{Flags: []Flag{{"listen", "--listen", "8000"}, {"log.level", "--log-level", "inof"}}}, []string{
			`--listen: "8000" is not an address; write host:port`,
			"--log-level: \"inof\" is not one of debug, info, warn, error; did you mean `info`?",
		}},
		{"all layers at once, weakest first", "foo: 1\n", Options{Env: []string{"SKEIN_QUUX=1"}, Flags: []Flag{{"log.level", "--log-level", "loud"}}}, []string{
			"skein.yaml:1:1: unknown key `foo`; the keys here are listen, tls, data, database, durability, origins, trusted_proxies, auth, api, heartbeat, limits, rates, websocket, socketio, hooks, online, namespaces, users, push, categories, console, audit, drain, log, demos",
			"SKEIN_QUUX: there is no such setting; `skein config explain --json` lists the variables",
			`--log-level: "loud" is not one of debug, info, warn, error`,
		}},
		{"a file that is not there", "", Options{File: "/nonexistent/skein.yaml"}, []string{
			`skein.yaml: cannot read the file: no such file or directory`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, wrong := load(t, tc.text, tc.opt)
			var got []string
			for line := range strings.Lines(wrong) {
				if !strings.HasPrefix(line, "  ") {
					got = append(got, strings.TrimSuffix(line, "\n"))
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
