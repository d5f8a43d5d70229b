package skein

import (
	"context"

	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/feature/channel"
	"github.com/skein-realtime/skein/internal/feature/connection"
	"github.com/skein-realtime/skein/internal/feature/document"
	"github.com/skein-realtime/skein/internal/feature/group"
	"github.com/skein-realtime/skein/internal/feature/health"
	"github.com/skein-realtime/skein/internal/feature/history"
	"github.com/skein-realtime/skein/internal/feature/hooks"
	"github.com/skein-realtime/skein/internal/feature/node"
	"github.com/skein-realtime/skein/internal/feature/presence"
	"github.com/skein-realtime/skein/internal/feature/schedule"
)

// The params and results of the server's verbs, as docs and the HTTP API name them.
type (
	PublishParams       = channel.PublishParams
	Targets             = channel.Targets
	Target              = channel.Target
	Exclude             = channel.Exclude
	PublishResult       = channel.PublishResult
	SubscribeParams     = channel.SubscribeParams
	SubscribeResult     = channel.SubscribeResult
	UnsubscribeParams   = channel.UnsubscribeParams
	ChannelsParams      = channel.ChannelsParams
	ChannelsPage        = channel.ChannelsPage
	HistoryParams       = history.Params
	HistoryResult       = history.Result
	RecallParams        = history.RecallParams
	RecallResult        = history.RecallResult
	BindParams          = connection.BindParams
	UnbindParams        = connection.UnbindParams
	DisconnectParams    = connection.DisconnectParams
	DisconnectResult    = connection.Count
	LastMessage         = connection.Last
	OnlineParams        = connection.OnlineParams
	OnlineUser          = connection.Online
	ConnectionsParams   = connection.ConnectionsParams
	ConnectionsPage     = connection.Page
	CallParams          = connection.CallParams
	CallResult          = connection.CallResult
	SessionParams       = connection.SessionParams
	SessionDataParams   = connection.SessionDataParams
	SessionResult       = connection.SessionResult
	PresenceParams      = presence.Params
	PresenceResult      = presence.Result
	MembersParams       = group.Params
	MembersRemoveParams = group.RemoveParams
	MembersResult       = group.Changed
	MembersListParams   = group.ListParams
	MembersPage         = group.Page
	MembersCountParams  = group.CountParams
	MembersCount        = group.Count
	MembersGroupsParams = group.GroupsParams
	MembersGroupsPage   = group.GroupsPage
	DocChange           = document.Change
	DocGetParams        = document.GetParams
	DocGetResult        = document.GetResult
	DocPutParams        = document.PutParams
	DocPatchParams      = document.PatchParams
	DocUndoParams       = document.UndoParams
	DocDeleteParams     = document.DeleteParams
	DocResult           = document.Result
	DocHistoryParams    = document.HistoryParams
	DocHistoryResult    = document.HistoryResult
	SchedulePutParams   = schedule.PutParams
	ScheduleNameParams  = schedule.NameParams
	ScheduleListParams  = schedule.ListParams
	Schedule            = schedule.Schedule
	SchedulesPage       = schedule.Page
	ScheduleRun         = schedule.RunResult
	BlockParams         = access.BlockParams
	BlockResult         = access.Blocked
	UnblockParams       = access.UnblockParams
	UnblockResult       = access.Unblocked
	BlockedParams       = access.BlockedParams
	BlockedPage         = access.BlockedPage
	RevokeParams        = access.RevokeParams
	RevokeResult        = access.Revoked
	ServerInfo          = node.Info
	ServerStats         = node.Stats
	StatsSeriesParams   = node.SeriesParams
	StatsSeries         = node.Series
	StatsPoint          = node.Point
	ServerSettings      = node.Settings
	Setting             = node.Setting
	Problem             = health.Problem
	Problems            = health.Problems
	HooksList           = hooks.List
	Hook                = hooks.Hook
)

// run runs a verb with Go values.
func run[R any](ctx context.Context, s *Server, name string, params any) (r R, err error) {
	err = s.Call(ctx, name, params, &r)
	return r, err
}

// Publish is the verb publish: it sends a message to channels, connections, users, members or everybody.
func (s *Server) Publish(ctx context.Context, p PublishParams) (PublishResult, error) {
	return run[PublishResult](ctx, s, "publish", p)
}

// Send publishes a message to one target; data encodes to JSON. It is [Server.Publish]
// in its simplest form.
func (s *Server) Send(ctx context.Context, to Target, event string, data any) (PublishResult, error) {
	raw, err := encode(data)
	if err != nil {
		return PublishResult{}, err
	}
	return s.Publish(ctx, PublishParams{To: Targets{to}, Event: event, Data: raw})
}

// Subscribe is the verb subscribe: it subscribes a connection, or every connection of a user, to a channel.
func (s *Server) Subscribe(ctx context.Context, p SubscribeParams) (SubscribeResult, error) {
	return run[SubscribeResult](ctx, s, "subscribe", p)
}

// Unsubscribe is the verb unsubscribe: it ends the subscription of a connection, or of every connection of a user.
func (s *Server) Unsubscribe(ctx context.Context, p UnsubscribeParams) (SubscribeResult, error) {
	return run[SubscribeResult](ctx, s, "unsubscribe", p)
}

// Channels is the verb channels: it lists the channels that have subscribers.
func (s *Server) Channels(ctx context.Context, p ChannelsParams) (ChannelsPage, error) {
	return run[ChannelsPage](ctx, s, "channels", p)
}

// History is the verb history: it reads the messages of a log channel, a page at a time.
func (s *Server) History(ctx context.Context, p HistoryParams) (HistoryResult, error) {
	return run[HistoryResult](ctx, s, "history", p)
}

// Recall is the verb recall: it withdraws a message of a log channel.
func (s *Server) Recall(ctx context.Context, p RecallParams) (RecallResult, error) {
	return run[RecallResult](ctx, s, "recall", p)
}

// DocGet is the verb doc.get: it reads a document, or a place in it.
func (s *Server) DocGet(ctx context.Context, p DocGetParams) (DocGetResult, error) {
	return run[DocGetResult](ctx, s, "doc.get", p)
}

// DocPut is the verb doc.put: it sets the whole value of a document.
func (s *Server) DocPut(ctx context.Context, p DocPutParams) (DocResult, error) {
	return run[DocResult](ctx, s, "doc.put", p)
}

// DocPatch is the verb doc.patch: it changes a document.
func (s *Server) DocPatch(ctx context.Context, p DocPatchParams) (DocResult, error) {
	return run[DocResult](ctx, s, "doc.patch", p)
}

// DocHistory is the verb doc.history: it lists who changed what in a document, a page at a time.
func (s *Server) DocHistory(ctx context.Context, p DocHistoryParams) (DocHistoryResult, error) {
	return run[DocHistoryResult](ctx, s, "doc.history", p)
}

// DocUndo is the verb doc.undo: it takes a change of a document back.
func (s *Server) DocUndo(ctx context.Context, p DocUndoParams) (DocResult, error) {
	return run[DocResult](ctx, s, "doc.undo", p)
}

// DocDelete is the verb doc.delete: it deletes the value of a document, and on request its history.
func (s *Server) DocDelete(ctx context.Context, p DocDeleteParams) (DocResult, error) {
	return run[DocResult](ctx, s, "doc.delete", p)
}

// Bind is the verb bind: it binds a connection to a user.
func (s *Server) Bind(ctx context.Context, p BindParams) error { return s.Call(ctx, "bind", p, nil) }

// Unbind is the verb unbind: it makes a connection anonymous.
func (s *Server) Unbind(ctx context.Context, p UnbindParams) error {
	return s.Call(ctx, "unbind", p, nil)
}

// Disconnect is the verb disconnect: it ends a connection, or those of a user.
func (s *Server) Disconnect(ctx context.Context, p DisconnectParams) (DisconnectResult, error) {
	return run[DisconnectResult](ctx, s, "disconnect", p)
}

// Online is the verb online: it tells which users or connections are online.
func (s *Server) Online(ctx context.Context, p OnlineParams) (map[string]OnlineUser, error) {
	return run[map[string]OnlineUser](ctx, s, "online", p)
}

// ListConnections is the verb connections: it lists live connections.
func (s *Server) ListConnections(ctx context.Context, p ConnectionsParams) (ConnectionsPage, error) {
	return run[ConnectionsPage](ctx, s, "connections", p)
}

// CallClient is the verb call: it calls a method of a client, or of every client of a user, and waits for the replies.
func (s *Server) CallClient(ctx context.Context, p CallParams) (CallResult, error) {
	return run[CallResult](ctx, s, "call", p)
}

// Session is the verb session.get: it reads the session of a connection.
func (s *Server) Session(ctx context.Context, p SessionParams) (SessionResult, error) {
	return run[SessionResult](ctx, s, "session.get", p)
}

// SetSession is the verb session.set: it replaces the session of a connection.
func (s *Server) SetSession(ctx context.Context, p SessionDataParams) (SessionResult, error) {
	return run[SessionResult](ctx, s, "session.set", p)
}

// MergeSession is the verb session.merge: it merges into the session of a connection (RFC 7396).
func (s *Server) MergeSession(ctx context.Context, p SessionDataParams) (SessionResult, error) {
	return run[SessionResult](ctx, s, "session.merge", p)
}

// Presence is the verb presence: it tells who is subscribed to a channel.
func (s *Server) Presence(ctx context.Context, p PresenceParams) (PresenceResult, error) {
	return run[PresenceResult](ctx, s, "presence", p)
}

// AddMembers is the verb members.add: it makes users members of a channel.
func (s *Server) AddMembers(ctx context.Context, p MembersParams) (MembersResult, error) {
	return run[MembersResult](ctx, s, "members.add", p)
}

// RemoveMembers is the verb members.remove: it ends memberships of a channel.
func (s *Server) RemoveMembers(ctx context.Context, p MembersRemoveParams) (MembersResult, error) {
	return run[MembersResult](ctx, s, "members.remove", p)
}

// Members is the verb members.list: it lists the members of a channel, or the channels of a user.
func (s *Server) Members(ctx context.Context, p MembersListParams) (MembersPage, error) {
	return run[MembersPage](ctx, s, "members.list", p)
}

// CountMembers is the verb members.count: it counts the members of a channel.
func (s *Server) CountMembers(ctx context.Context, p MembersCountParams) (MembersCount, error) {
	return run[MembersCount](ctx, s, "members.count", p)
}

// Groups is the verb members.groups: it lists the channels that have members.
func (s *Server) Groups(ctx context.Context, p MembersGroupsParams) (MembersGroupsPage, error) {
	return run[MembersGroupsPage](ctx, s, "members.groups", p)
}

// PutSchedule is the verb schedules.put: it makes a schedule or changes it.
func (s *Server) PutSchedule(ctx context.Context, p SchedulePutParams) (Schedule, error) {
	return run[Schedule](ctx, s, "schedules.put", p)
}

// Schedule is the verb schedules.get: it shows a schedule, when it is due and how it went.
func (s *Server) Schedule(ctx context.Context, p ScheduleNameParams) (Schedule, error) {
	return run[Schedule](ctx, s, "schedules.get", p)
}

// Schedules is the verb schedules.list: it lists schedules by name.
func (s *Server) Schedules(ctx context.Context, p ScheduleListParams) (SchedulesPage, error) {
	return run[SchedulesPage](ctx, s, "schedules.list", p)
}

// DeleteSchedule is the verb schedules.delete: it deletes a schedule.
func (s *Server) DeleteSchedule(ctx context.Context, p ScheduleNameParams) error {
	return s.Call(ctx, "schedules.delete", p, nil)
}

// RunSchedule is the verb schedules.run: it runs a schedule's verb now; the planned times stay.
func (s *Server) RunSchedule(ctx context.Context, p ScheduleNameParams) (ScheduleRun, error) {
	return run[ScheduleRun](ctx, s, "schedules.run", p)
}

// PauseSchedule is the verb schedules.pause: it stops a schedule until it is resumed.
func (s *Server) PauseSchedule(ctx context.Context, p ScheduleNameParams) (Schedule, error) {
	return run[Schedule](ctx, s, "schedules.pause", p)
}

// ResumeSchedule is the verb schedules.resume: it goes on with a schedule from now.
func (s *Server) ResumeSchedule(ctx context.Context, p ScheduleNameParams) (Schedule, error) {
	return run[Schedule](ctx, s, "schedules.resume", p)
}

// Info is the verb info: it tells version, uptime and nodes.
func (s *Server) Info(ctx context.Context) (ServerInfo, error) {
	return run[ServerInfo](ctx, s, "info", struct{}{})
}

// Stats is the verb stats: it tells what the server has done since it started.
func (s *Server) Stats(ctx context.Context) (ServerStats, error) {
	return run[ServerStats](ctx, s, "stats", struct{}{})
}

// StatsSeries is the verb stats.series: it tells what the server did in each of the last seconds.
func (s *Server) StatsSeries(ctx context.Context, p StatsSeriesParams) (StatsSeries, error) {
	return run[StatsSeries](ctx, s, "stats.series", p)
}

// Problems is the verb problems: it tells what is wrong with the server now.
func (s *Server) Problems(ctx context.Context) (Problems, error) {
	return run[Problems](ctx, s, "problems", struct{}{})
}

// Settings is the verb settings: it lists every setting in force and where it came from.
func (s *Server) Settings(ctx context.Context) (ServerSettings, error) {
	return run[ServerSettings](ctx, s, "settings", struct{}{})
}

// ListHooks is the verb hooks.list: it tells how the application's backend does.
func (s *Server) ListHooks(ctx context.Context) (HooksList, error) {
	return run[HooksList](ctx, s, "hooks.list", struct{}{})
}

// BlockUser is the verb users.block: it keeps a user out and ends his connections.
func (s *Server) BlockUser(ctx context.Context, p BlockParams) (BlockResult, error) {
	return run[BlockResult](ctx, s, "users.block", p)
}

// UnblockUser is the verb users.unblock: it lets a blocked user in again.
func (s *Server) UnblockUser(ctx context.Context, p UnblockParams) (UnblockResult, error) {
	return run[UnblockResult](ctx, s, "users.unblock", p)
}

// BlockedUsers is the verb users.blocked: it tells who is blocked.
func (s *Server) BlockedUsers(ctx context.Context, p BlockedParams) (BlockedPage, error) {
	return run[BlockedPage](ctx, s, "users.blocked", p)
}

// RevokeTokens is the verb tokens.revoke: it refuses tokens from now on and ends their connections.
func (s *Server) RevokeTokens(ctx context.Context, p RevokeParams) (RevokeResult, error) {
	return run[RevokeResult](ctx, s, "tokens.revoke", p)
}
