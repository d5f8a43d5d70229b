// Package client is the Go client of a Skein server. It keeps one connection, by
// WebSocket, server-sent events or long polling, and comes back whenever that is
// lost; what was going on goes on where it was.
//
//	c, err := client.Dial(ctx, "https://example.com", client.Options{Token: token})
//	if err != nil {
//		return err
//	}
//	defer c.Close(context.Background())
//	for m, err := range c.Channel("room:7", client.ChannelOptions{Last: 20}).Messages(ctx) {
//		…
//	}
//
// # What there is
//
//   - [Channel]: messages of a channel of any kind, publishing, history, notices.
//   - [Document]: one JSON value that many change at once. Own patches show at once,
//     and are taken back when the server refuses them.
//   - [Presence]: who is in a channel.
//   - [Inbox]: what was pushed to the user, acknowledged when it was handled; what of
//     it was read, on all devices; and what the user does not want to hear.
//   - [Conversations] and [Conversation]: the list of the user's conversations, which is
//     followed, with unread counts; and what is said in one of them, read, edited and
//     withdrawn there (spec/chat.md).
//   - [Client.Call] and [Client.Handle]: calls of the application, and by it.
//
// These are small views of one Client; there is one Channel, Document, Conversation and
// Inbox for each name, and asking twice gives the same one. Functions that are registered with
// On… get everything from that moment on: a program that must not miss what comes
// right after the welcome calls [New], registers them, and then [Client.Connect].
//
// # What is promised
//
//   - A log (kind "log") is read in order and without a hole, across reconnects and
//     restarts of either side of the connection; what the server does not keep any
//     more is told as a [Gap]. [Channel.Position] lets the next run of a program go on.
//   - A volatile channel (kind "event") is told what is published while there is a
//     connection. What is lost because a reader was too slow is counted, and told as
//     [Dropped].
//   - A document shows the server's versions in their order, with the program's own
//     patches that have no answer yet carried out on top.
//   - [Channel.Publish] and [Document.Patch] are carried out once, however often the
//     connection breaks, as long as their context lives: each has a random key, and is
//     sent again with it. The server knows a key by the user, so an anonymous client
//     gets [ErrLost] where it cannot know. Calls and notices are never repeated.
//
// # Coming back
//
// A lost connection is found by its end or, when nothing at all was heard for three
// of the server's heartbeats, by silence. Before it tries again the client waits: as
// long as the server has said in its `bye`, otherwise a random time that grows
// ([FullJitter]). It does not come back when the server refuses the token (close code
// 4002), sends it away (4004) or says so (`reconnect: false`); then everything that
// waits gets [ErrClosed]. Options.Token is asked anew each time, and before the token
// of a connection expires.
//
// When a server can be reached, but two attempts in a row to open a connection by one
// transport fail, or its door is not there, the next transport is tried. When such a
// connection has ended and five minutes have passed, the first one is tried again.
//
// # Slow functions
//
// The functions of a channel, of the inbox, and of the client itself are called one
// after the other, each of these three by a goroutine of its own (for each channel
// one), and never by the one that reads the connection. So one that is slow
// holds up only its own channel. Options.Queue events may wait there. When there is no
// room for one more:
//
//   - in a volatile channel the oldest event goes, and is counted in a [Dropped];
//   - in a log the connection as a whole is held up for at most a second, which is
//     seldom noticed and far below three heartbeats. Then the client unsubscribes, and
//     subscribes again from the last message that it has when half of the room is free.
//     Notices, joins and leaves are dropped meanwhile, and counted;
//   - the changes of a document are told as one, without operations: the value is
//     there anyway;
//   - in the inbox the message is left to the server, which sends it again;
//   - changes of the list of conversations, and of a conversation, are told as one: it is
//     what the list and the messages are now that counts;
//   - of the states and errors of the client the oldest goes.
//
// A function may call everything but [Client.Close], which waits for it.
//
// # What it does not do
//
// It stores nothing: who wants to go on after a restart of the program keeps the
// Position. It does not check what the server says, beyond what it needs: the server is
// trusted. It has no state outside of its Clients.
//
// # Goroutines
//
// A Client runs one goroutine that connects and reads, and with each connection one
// that writes and watches the heartbeat, and one that refreshes the token, if there is
// one; one for each channel, the inbox, the conversations and the client while there are
// events to be told; one for each call by the server that is running; one for each log that
// waits for room; and one that reads what is missing of the list of conversations, while
// something is. [Client.Close] waits for all of them.
package client
