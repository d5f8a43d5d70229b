package skein

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Config is everything a server can be told. The zero value of each field
// means its default, so Config{} is a server on 127.0.0.1:8000 that knows no
// namespace and lets nobody in.
//
// The yaml names are those of the configuration file, the doc texts those that
// `skein config init` writes next to them.
type Config struct {
	// Listen is the TCP address, host:port. Empty: 127.0.0.1:8000.
	Listen string `yaml:"listen" doc:"address to listen on, host:port"`
	// TLS turns on https and wss when both files are named.
	TLS TLS `yaml:"tls" doc:"certificate and key files (PEM); read again when they change"`
	// Data is the directory of the embedded store, made when it is missing; "off": there
	// is none, and nothing that has to be kept works. Empty: ./data when a namespace
	// keeps messages, off otherwise. With Database it is not used.
	Data string `yaml:"data" doc:"directory of the embedded store (SQLite); off: keep nothing"`
	// Database is the URL of a PostgreSQL database that keeps the state instead.
	Database string `yaml:"database" secret:"address" doc:"postgres://user:password@host/name: keep the state in PostgreSQL instead"`
	// Durability is "full" (or empty) or "relaxed": then the embedded store does not
	// wait for the disk at every commit, and a power cut may take the last moments.
	Durability string `yaml:"durability" doc:"full | relaxed (SQLite does not wait for the disk at every commit)"`
	// Origins are the browser origins that may connect besides the page's own; "*" allows all.
	Origins []string `yaml:"origins" doc:"browser origins allowed besides the same one; \"*\" for all"`
	// TrustedProxies are the networks (CIDR) whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies" doc:"networks (CIDR) whose X-Forwarded-For header is believed"`
	// Auth says who may connect.
	Auth Auth `yaml:"auth" doc:"who may connect"`
	// API holds the keys of the HTTP API.
	API API `yaml:"api" doc:"the HTTP API"`
	// Heartbeat says how dead links are found.
	Heartbeat Heartbeat `yaml:"heartbeat" doc:"how dead links are found"`
	// Limits bound everything that a stranger controls.
	Limits Limits `yaml:"limits" doc:"bounds on what a client can cause"`
	// Rates say how fast clients and callers of the API may go.
	Rates Rates `yaml:"rates" doc:"how fast clients and callers of the API may go, besides limits.frames_per_second"`
	// WebSocket selects the connection driver and compression.
	WebSocket WebSocket `yaml:"websocket" doc:"the WebSocket transport"`
	// SocketIO is the door for Socket.IO clients.
	SocketIO SocketIO `yaml:"socketio" doc:"the door for Socket.IO clients"`
	// Hooks is the application's backend that is asked and told over HTTP.
	Hooks Hooks `yaml:"hooks" doc:"the application's backend, which is asked and told over HTTP"`
	// Online says how the server tells who is online.
	Online Online `yaml:"online" doc:"how it is told that users come and go"`
	// Namespaces maps the part of a channel's name before the colon to its rules.
	// A channel whose namespace is not here does not exist.
	Namespaces map[string]Namespace `yaml:"namespaces" doc:"the part of a channel's name before the colon, and its rules"`
	// Users says how users are looked up.
	Users Users `yaml:"users" doc:"how users are looked up"`
	// Push is about the inboxes of users.
	Push Push `yaml:"push" doc:"messages that are kept for users until a device acknowledges them"`
	// Categories say how often, and when, what is pushed may interrupt a user.
	Categories map[string]Category `yaml:"categories" doc:"how often, and when, pushes of a kind may interrupt a user"`
	// Console is the page at /console/ for those who look after the server.
	Console Console `yaml:"console" doc:"the page at /console/ for those who look after the server"`
	// Audit is about the log of who ran which verb.
	Audit Audit `yaml:"audit" doc:"the log of who ran which verb"`
	// Drain says how a server that is told to stop sends its clients away.
	Drain Drain `yaml:"drain" doc:"how the server sends its clients away when it is told to stop"`
	// Log selects what is written to standard error.
	Log Log `yaml:"log" doc:"what is written to standard error"`
	// Demos serves the pages under /demo/.
	Demos bool `yaml:"demos" doc:"serve the demo pages under /demo/"`

	// Dev relaxes what only a developer on the same machine may have relaxed: see
	// [Config.WithDev]. It is a flag, never a key of the configuration file.
	Dev bool `yaml:"-"`
	// Sources tell where the values come from, for the verb settings. Nil: from the program that
	// made the configuration.
	Sources *Sources `yaml:"-"`
	// Logger takes what the server has to say. Nil: slog.Default().
	Logger *slog.Logger `yaml:"-"`
}

// TLS names the certificate files. Both empty: plain TCP.
type TLS struct {
	Cert string `yaml:"cert" doc:"certificate chain file (PEM)"`
	Key  string `yaml:"key" doc:"private key file (PEM)"`
}

// Auth says who may connect.
type Auth struct {
	// Timeout closes a connection that is not welcomed in time. Zero: 15 s.
	Timeout Duration `yaml:"timeout" doc:"a connection that has not authenticated by then is closed"`
	// Anonymous lets a connection stay without a user.
	Anonymous bool `yaml:"anonymous" doc:"may a connection stay without a user?"`
	// JWT says which tokens are believed. All empty: none.
	JWT JWT `yaml:"jwt" doc:"which tokens are believed (HS256, RS256, ES256, EdDSA)"`
}

// JWT holds the keys that tokens may be signed with.
type JWT struct {
	HMACSecret string   `yaml:"hmac_secret" secret:"true" doc:"shared secret for HS256, at least 32 bytes"`
	PublicKeys []string `yaml:"public_keys" doc:"PEM texts or file names, for RS256, ES256 and EdDSA"`
	JWKS       string   `yaml:"jwks" doc:"URL of a JSON Web Key Set, cached and fetched again when a key is unknown"`
	Issuer     string   `yaml:"issuer" doc:"required iss claim; empty: any"`
	Audience   string   `yaml:"audience" doc:"required aud claim; empty: any"`
}

// API holds the keys of the HTTP API.
type API struct {
	Keys []APIKey `yaml:"keys" doc:"keys, by hash; skein key makes one"`
}

// APIKey is one key of the HTTP API, kept only as a hash.
type APIKey struct {
	Name   string   `yaml:"name" doc:"who uses it; shown in logs"`
	Hash   string   `yaml:"hash" secret:"true" doc:"sha256: and the hex SHA-256 of the key text"`
	Scopes []string `yaml:"scopes" doc:"verbs it may call: a verb, family.* or * for all; admin for profiling, trace for tracing"`
}

// Heartbeat says how dead links are found.
type Heartbeat struct {
	Interval Duration `yaml:"interval" doc:"time between two pings"`                            // zero: 15 s
	Misses   int      `yaml:"misses" doc:"so many intervals of silence and the link is closed"` // zero: 3
}

// Limits bound everything that a stranger controls.
type Limits struct {
	Message         Size     `yaml:"message" doc:"largest message from a client"`                                // zero: 64 KiB
	Frame           Size     `yaml:"frame" doc:"largest WebSocket frame from a client; 0: as message"`           // zero: as Message
	Queue           Size     `yaml:"queue" doc:"bytes that may wait for a slow reader"`                          // zero: 1 MiB
	Connections     int      `yaml:"connections" doc:"connections in all; 0: no limit"`                          // zero: no limit
	PerAddress      int      `yaml:"per_address" doc:"connections from one address; 0: no limit"`                // zero: no limit
	Subscriptions   int      `yaml:"subscriptions" doc:"channels a connection may subscribe to"`                 // zero: 256
	FramesPerSecond int      `yaml:"frames_per_second" doc:"frames a client may send each second; -1: no limit"` // zero: 100; -1: no limit
	Handshake       Duration `yaml:"handshake" doc:"time to finish TLS and the HTTP request"`                    // zero: 10 s
	Depth           int      `yaml:"depth" doc:"nesting of JSON"`                                                // zero: 64
	Body            Size     `yaml:"body" doc:"largest body of an API request"`                                  // zero: 8 MiB
	Recent          Size     `yaml:"recent" doc:"memory for the newest messages of log channels"`                // zero: 64 MiB
	Document        Size     `yaml:"document" doc:"largest document, as JSON text"`                              // zero: 1 MiB
	Documents       Size     `yaml:"documents" doc:"memory for the documents that were used last"`               // zero: 64 MiB
	Ops             int      `yaml:"ops" doc:"operations of a patch"`                                            // zero: 1000
}

// Rates say how fast clients and callers of the API may go. A rate is "20/s",
// "600/m" or "20/s burst 40".
type Rates struct {
	User   string   `yaml:"user" doc:"frames of a user over all connections, such as 200/s; empty: no limit"`
	Frames []string `yaml:"frames" doc:"frames of a type on a connection: a list of type and rate, such as \"pub 20/s burst 40\""`
	Verbs  []string `yaml:"verbs" doc:"verbs run by one API key: a list of verb and rate, such as \"publish 100/s\""`
	DryRun bool     `yaml:"dry_run" doc:"refuse nothing; count and log what would have been refused"`
}

// WebSocket selects the connection driver and compression.
type WebSocket struct {
	// Driver is "auto" (or empty), "epoll" (Linux, plain TCP) or "portable".
	Driver string `yaml:"driver" doc:"auto | epoll | portable"`
	// Compression offers permessage-deflate.
	Compression bool `yaml:"compression" doc:"offer permessage-deflate"`
}

// SocketIO is the door for Socket.IO clients, of every version from 1.0 on.
type SocketIO struct {
	// Path is where it is; empty: /socket.io/. "off" turns it off.
	Path string `yaml:"path" doc:"where it is; off: nowhere"`
	// OldClients is "allow" (or empty) or "refuse": clients before version 3.
	OldClients     string                       `yaml:"old_clients" doc:"clients of versions 1 and 2: allow | refuse"`
	PingInterval   Duration                     `yaml:"ping_interval" doc:"time between two heartbeats"`                               // zero: 25 s
	PingTimeout    Duration                     `yaml:"ping_timeout" doc:"so long a heartbeat may go unanswered"`                      // zero: 20 s
	ConnectTimeout Duration                     `yaml:"connect_timeout" doc:"time to connect to the first namespace"`                  // zero: 45 s
	UpgradeTimeout Duration                     `yaml:"upgrade_timeout" doc:"time for the way from polling to WebSocket"`              // zero: 10 s
	MaxPayload     Size                         `yaml:"max_payload" doc:"largest message, or body of a poll, from a client"`           // zero: 1 MB
	Recovery       Duration                     `yaml:"recovery" doc:"how long a lost connection's state can be recovered; 0s: never"` // zero: never
	Client         string                       `yaml:"client" doc:"file of the JavaScript client that is served as socket.io.js"`     // empty: none
	Namespaces     map[string]SocketIONamespace `yaml:"namespaces" doc:"Socket.IO namespaces and the channels that they are; one * stands for anything"`
}

// SocketIONamespace says what a Socket.IO namespace stands for.
type SocketIONamespace struct {
	Channel string `yaml:"channel" doc:"where everybody in it is subscribed, and where what clients emit goes"` // empty: nowhere
	Rooms   string `yaml:"rooms" doc:"namespace of the channels that are its rooms"`                            // empty: rooms are the application's own
}

// Namespace is the rules of every channel whose name begins with it.
type Namespace struct {
	Kind      string `yaml:"kind" doc:"event (live only) | log (kept, in order) | doc (one JSON value)"` // empty: event
	Subscribe string `yaml:"subscribe" doc:"who may subscribe: anyone | user | member | token | server"` // empty: server
	Publish   string `yaml:"publish" doc:"who may publish"`                                              // empty: server
	Presence  string `yaml:"presence" doc:"what presence shows: none | counts | members"`                // empty: none
	// PresenceMax and PresenceGrace are what join and leave cost in large channels.
	PresenceMax   int      `yaml:"presence_max" doc:"above so many connections presence shows counts alone"` // zero: 1000
	PresenceGrace Duration `yaml:"presence_grace" doc:"who is back within this time has not left; 0s: leave is told at once"`
	PresenceTo    string   `yaml:"presence_to" doc:"who may ask for presence; empty: whoever may subscribe"`           // empty: as Subscribe
	History       string   `yaml:"history" doc:"log: who may read what was said before; empty: whoever may subscribe"` // empty: as Subscribe
	Keep          Keep     `yaml:"keep" doc:"log, doc: how much is kept"`
	// Patch, Rules and Schema are about documents.
	Patch  string   `yaml:"patch" doc:"doc: who may change it"` // empty: server
	Rules  []string `yaml:"rules" doc:"doc: who may read and write which place, such as \"/players/{user}/** write user\"; empty: all of it"`
	Schema string   `yaml:"schema" doc:"doc: a file with the JSON Schema that every version must fulfil"`
	// Chat makes conversations of the channels.
	Chat Chat `yaml:"chat" optional:"true" doc:"log: its channels are conversations, whose members have roles and marks"`
}

// Chat makes conversations of the channels of a log namespace, as spec/chat.md says. The zero
// value: they are none.
type Chat struct {
	Kind    string     `yaml:"kind" doc:"direct (between two users) | group"`                                                                     // empty: no conversations
	Follow  *bool      `yaml:"follow" doc:"is every connection of a member subscribed? default: yes"`                                             // nil: yes
	History string     `yaml:"history" doc:"group: what a new member sees: join (what is said from then on) | start (all)"`                       // empty: join
	Create  string     `yaml:"create" doc:"group: who makes one: user | token | server"`                                                          // empty: user
	Join    string     `yaml:"join" doc:"group: who brings users into a new one: admins | members | open"`                                        // empty: admins
	Members int        `yaml:"members" doc:"group: members at most"`                                                                              // zero: 5000
	Marks   int        `yaml:"marks" doc:"group: above so many members their marks are not told to each other"`                                   // zero: 100
	Edit    *Duration  `yaml:"edit" doc:"so long its author may edit a message; 0s: never; default: 15m"`                                         // nil: 15 m
	Recall  *Duration  `yaml:"recall" doc:"so long its author may recall a message; 0s: never; default: 24h"`                                     // nil: 24 h
	Peers   string     `yaml:"peers" doc:"direct: who may write to whom: any | known | NAMESPACE, of one of whose channels both must be members"` // empty: any
	Alerts  ChatAlerts `yaml:"alerts" doc:"how members who are away are told of messages"`
}

// ChatAlerts says how members who are away are told of messages. The zero value: they are not.
type ChatAlerts struct {
	Category string `yaml:"category" doc:"category of the pushes for messages; empty: none"`
	Mentions string `yaml:"mentions" doc:"category of the pushes to those whom a message mentions; empty: none"`
	Most     int    `yaml:"most" doc:"group: above so many members only those who are mentioned are told"` // zero: 200
}

// Keep says how many messages of a log channel, or patches of a document, are
// kept, and for how long. The value of a document is always kept.
type Keep struct {
	Count int      `yaml:"count" doc:"newest messages of a channel; 0: all"`     // zero: all
	Age   Duration `yaml:"age" doc:"time after which a message goes; 0s: never"` // zero: for ever
}

// Hooks is the application's backend that is asked and told over HTTP, as
// spec/hooks.md says.
type Hooks struct {
	URL           string   `yaml:"url" doc:"where events go (http or https); empty: nowhere"`
	Secret        string   `yaml:"secret" secret:"true" doc:"what requests are signed with, at least 32 bytes"`
	OldSecret     string   `yaml:"old_secret" secret:"true" doc:"the secret before, while the backend still uses it"`
	Events        []string `yaml:"events" doc:"connect, subscribe, message, call, escalate (asked); close, online, offline, occupied, vacated (told)"`
	Namespaces    []string `yaml:"namespaces" doc:"subscribe and message only in these; empty: in all"`
	Headers       []string `yaml:"headers" doc:"headers of the client's request that connect carries, such as cookie"`
	Timeout       Duration `yaml:"timeout" doc:"time for a question, with everything"`                                  // zero: 3 s
	Retries       int      `yaml:"retries" doc:"further attempts at a question that may be repeated; -1: none"`         // zero: 1
	Concurrency   int      `yaml:"concurrency" doc:"requests under way at once"`                                        // zero: 64
	OnFailure     string   `yaml:"on_failure" doc:"when the backend does not answer: refuse | allow (go by the rules)"` // empty: refuse
	Failures      int      `yaml:"failures" doc:"so many failures in a row and the backend is left alone for a while"`  // zero: 5
	Pause         Duration `yaml:"pause" doc:"how long it is left alone before the next attempt"`                       // zero: 5 s
	VerifyAnswers bool     `yaml:"verify_answers" doc:"answers must be signed, too"`
}

// Online says how the server tells who is online.
type Online struct {
	// Grace is how long a user, or a channel's last subscriber, may be gone before it
	// is told; who is back by then was never gone.
	Grace   Duration `yaml:"grace" doc:"who is back within this time was never gone"` // zero: 3 s
	Channel string   `yaml:"channel" doc:"channel in which online, offline, occupied and vacated are published; empty: none"`
}

// Audit is about the log of who ran which verb.
type Audit struct {
	Keep *Duration `yaml:"keep" doc:"how long its lines are kept; 0s: for ever; default: 2160h"` // nil: 2160h
}

// Users says how users are looked up.
type Users struct {
	// Index lists places of the attributes that filters look at often: JSON Pointers,
	// and #tags for the tags.
	Index []string `yaml:"index" doc:"attributes that filters look at often, such as /city; #tags for the tags"`
}

// Push is about the inboxes of users.
type Push struct {
	Zone       string   `yaml:"zone" doc:"time zone of users whose own is not known, such as Europe/Berlin"`            // empty: UTC
	Keep       Keep     `yaml:"keep" doc:"how much an inbox keeps"`                                                     // zero: 1000 messages, 720h
	Records    Duration `yaml:"records" doc:"how long it is kept what became of messages"`                              // zero: 2160h
	AckTimeout Duration `yaml:"ack_timeout" doc:"what is not acknowledged by then is sent again"`                       // zero: 30 s
	AckRetries int      `yaml:"ack_retries" doc:"how often it is, until the user connects anew; -1: never"`             // zero: 3
	Window     int      `yaml:"window" doc:"messages of a user that may be under way without having been acknowledged"` // zero: 100
}

// Category says how often, and when, pushes of a kind may interrupt a user; see
// spec/push.md.
type Category struct {
	Caps     []string `yaml:"caps" doc:"so many at most, such as \"5 per day\", \"20 per week\" and \"2 per 90m\"; all hold"`
	Parent   string   `yaml:"parent" doc:"a category whose caps hold, too, and which counts what this one counts"`
	Quiet    string   `yaml:"quiet" doc:"hours in which it is quiet where the user is, such as 22:00-08:00"`   // empty: none
	OnCap    string   `yaml:"on_cap" doc:"what becomes of a message that is over a cap: inbox | drop | defer"` // empty: inbox
	OnQuiet  string   `yaml:"on_quiet" doc:"what becomes of a message in quiet hours: defer | inbox | ignore"` // empty: defer
	Priority *int     `yaml:"priority" doc:"what comes first when not all may: 0 to 9"`                        // nil: 5
	TTL      Duration `yaml:"ttl" doc:"how long a message is good; 0s: as long as the inbox keeps it"`         // zero: as long as it is kept
	Bypass   bool     `yaml:"bypass" doc:"caps, quiet hours and mutes do not hold"`
	Counts   bool     `yaml:"counts" doc:"with bypass: it is counted by the caps all the same"`
	Mutable  *bool    `yaml:"mutable" doc:"may users mute it? default: yes, unless bypass"`                              // nil: unless Bypass
	Escalate Duration `yaml:"escalate" doc:"the application is told of what is not acknowledged by then; 0s: it is not"` // zero: it is not
}

// Drain says how a server that is told to stop sends its clients away.
type Drain struct {
	Timeout Duration `yaml:"timeout" doc:"after so long the server stops whoever is left"`       // zero: 25 s
	Spread  Duration `yaml:"spread" doc:"clients are asked to come back over this span of time"` // zero: 10 s
}

// Log selects what is written to standard error.
type Log struct {
	Level  string `yaml:"level" doc:"debug | info | warn | error"`                    // empty: info
	Format string `yaml:"format" doc:"auto | text | json (auto: text on a terminal)"` // empty: auto
}

// Duration is a time.Duration that reads and writes "15s".
type Duration time.Duration

// Std gives it as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String implements fmt.Stringer.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number and a unit: 500ms, 15s, 10m, 24h", b)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes that reads and writes "64KiB".
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1}}

// String implements fmt.Stringer.
func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if s != 0 && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON implements json.Marshaler.
func (s Size) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalText implements encoding.TextUnmarshaler. It takes a plain number of
// bytes or one with a unit (B, kB, MB, GB, KiB, MiB, GiB).
func (s *Size) UnmarshalText(b []byte) error {
	text, factor := strings.TrimSpace(string(b)), int64(1)
	for _, u := range sizeUnits {
		if strings.HasSuffix(text, u.suffix) {
			text, factor = strings.TrimSpace(strings.TrimSuffix(text, u.suffix)), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is not a size; write bytes or a number and a unit: 4096, 64KiB, 1MiB", b)
	}
	*s = Size(n * factor)
	return nil
}
