// Package protocol is the client protocol, version 1: the names of its frames,
// codes and limits, and a JSON codec that reads a frame in one pass and builds
// one without reflection.
//
// The text of the protocol is spec/protocol.md; spec/vectors holds examples of
// it that every implementation runs. The package keeps no state.
package protocol

// Frame types that a client sends.
const (
	TypeConnect  = "connect"
	TypeRefresh  = "refresh"
	TypeSub      = "sub"
	TypeUnsub    = "unsub"
	TypePub      = "pub"
	TypeNotice   = "notice"
	TypePresence = "presence"
	TypeCall     = "call"
	TypeReply    = "reply"
	TypePing     = "ping"
	TypeHistory  = "history"
	TypePatch    = "patch" // the server sends it too
	TypeAck      = "ack"
	TypeMark     = "mark" // the server sends it too
	TypeMute     = "mute"
	TypeEdit     = "edit"   // the server sends it too
	TypeRecall   = "recall" // the server sends it too

	TypeConversations = "conversations"
	TypeConversation  = "conversation" // the server sends it too
)

// Frame types that only the server sends.
const (
	TypeWelcome      = "welcome"
	TypeOK           = "ok"
	TypeError        = "error"
	TypeMsg          = "msg"
	TypeJoin         = "join"
	TypeLeave        = "leave"
	TypeSubscribed   = "subscribed"
	TypeUnsubscribed = "unsubscribed"
	TypeDropped      = "dropped"
	TypeGap          = "gap"
	TypeOnline       = "online"
	TypeSnapshot     = "snapshot"
	TypePong         = "pong"
	TypeBye          = "bye"
)

// Subprotocol is the WebSocket subprotocol of version 1 in JSON.
const Subprotocol = "skein.v1.json"

// Direct is the channel name on messages that were addressed to a connection,
// a user or everybody rather than to a channel.
const Direct = "@direct"

// Inbox is the name under which a client knows the inbox of its user.
const Inbox = "@inbox"

// DefaultEvent is the event name of a message that was given none.
const DefaultEvent = "message"

// Limits that the protocol fixes; the configurable ones are the server's.
const (
	MaxChannel = 255 // bytes of a channel name
	MaxEvent   = 64  // bytes of an event name
	MaxID      = 64  // bytes of a frame id that is a string
	MaxKey     = 128 // bytes of an idempotency key
	MaxUser    = 256 // bytes of a user id
	MaxDevice  = 128 // bytes of a device id
	MaxMethod  = 128 // bytes of the method name of a call

	MaxMentions = 100 // users that a message mentions
)

// Everybody stands among the mentions of a message in the place of all members.
const Everybody = "*"

// MaxInt is the largest integer that every JSON implementation keeps exactly: 2^53 - 1.
const MaxInt = 1<<53 - 1

// Close is a reason to end a connection: the word that goes into `bye`, and the
// WebSocket close code.
type Close struct {
	Word      string
	Code      uint16
	Reconnect bool // whether the client should come back
}

// The reasons, RFC 6455 section 7.4.1 for those below 4000.
var (
	CloseNormal       = Close{"normal", 1000, true}
	CloseGoingAway    = Close{"going_away", 1001, true}
	CloseProtocol     = Close{"protocol_error", 1002, true}
	CloseUnsupported  = Close{"unsupported_data", 1003, true}
	CloseBadUTF8      = Close{"bad_utf8", 1007, true}
	ClosePolicy       = Close{"policy", 1008, true}
	CloseTooBig       = Close{"too_big", 1009, true}
	CloseInternal     = Close{"internal", 1011, true}
	CloseAuthTimeout  = Close{"auth_timeout", 4001, true}
	CloseTokenRefused = Close{"token_refused", 4002, false}
	CloseTokenExpired = Close{"token_expired", 4003, true}
	CloseDisconnected = Close{"disconnected", 4004, false}
	CloseHeartbeat    = Close{"heartbeat_lost", 4005, true}
	CloseReplaced     = Close{"replaced", 4006, true}
	CloseTooSlow      = Close{"too_slow", 4008, true}
	CloseRateLimited  = Close{"rate_limited", 4009, true}
)
