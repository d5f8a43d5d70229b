package skein

import (
	"context"

	"github.com/skein-realtime/skein/internal/feature/chat"
)

// The params and results of the verbs of conversations, as docs and the HTTP API name them.
type (
	CreateGroupParams     = chat.CreateParams
	ConversationParams    = chat.GetParams
	ConversationResult    = chat.GetResult
	Conversation          = chat.Conversation
	ConversationPeer      = chat.Peer
	ConversationsParams   = chat.ListParams
	ConversationsPage     = chat.ListResult
	SetGroupParams        = chat.SetParams
	GroupSettings         = chat.SetResult
	InviteParams          = chat.InviteParams
	Invited               = chat.Invited
	GroupUserParams       = chat.UserParams
	RemoveFromGroupParams = chat.RemoveParams
	RemovedFromGroup      = chat.Removed
	SetRoleParams         = chat.RoleParams
	RoleResult            = chat.RoleResult
	DeleteGroupParams     = chat.DeleteParams
	DeletedGroup          = chat.Deleted
	RosterParams          = chat.MembersParams
	RosterPage            = chat.MembersPage
	RosterItem            = chat.MemberItem
	MarkParams            = chat.MarkParams
	Marked                = chat.Marked
	EditParams            = chat.EditParams
	EditedMessage         = chat.Edited
	AlertsParams          = chat.AlertsParams
	AlertsResult          = chat.AlertsResult
	BlockPeerParams       = chat.BlockParams
	BlockPeerResult       = chat.BlockResult
	BlockedPeersParams    = chat.BlockedParams
	BlockedPeersPage      = chat.BlockedPage
	BlockedPeer           = chat.BlockedItem
)

// CreateGroup is the verb chat.create: it makes a group.
func (s *Server) CreateGroup(ctx context.Context, p CreateGroupParams) (ConversationResult, error) {
	return run[ConversationResult](ctx, s, "chat.create", p)
}

// Conversation is the verb chat.get: it tells of a conversation, as one of its members or the server sees it.
func (s *Server) Conversation(ctx context.Context, p ConversationParams) (ConversationResult, error) {
	return run[ConversationResult](ctx, s, "chat.get", p)
}

// Conversations is the verb conversations: it lists those of a user, the one with the newest message first.
func (s *Server) Conversations(ctx context.Context, p ConversationsParams) (ConversationsPage, error) {
	return run[ConversationsPage](ctx, s, "conversations", p)
}

// SetGroup is the verb chat.set: it changes what is kept about a group.
func (s *Server) SetGroup(ctx context.Context, p SetGroupParams) (GroupSettings, error) {
	return run[GroupSettings](ctx, s, "chat.set", p)
}

// Invite is the verb chat.invite: it makes users members of a group.
func (s *Server) Invite(ctx context.Context, p InviteParams) (Invited, error) {
	return run[Invited](ctx, s, "chat.invite", p)
}

// JoinGroup is the verb chat.join: it makes a user a member of a group that is open.
func (s *Server) JoinGroup(ctx context.Context, p GroupUserParams) (Invited, error) {
	return run[Invited](ctx, s, "chat.join", p)
}

// LeaveGroup is the verb chat.leave: it ends a user's own membership of a group.
func (s *Server) LeaveGroup(ctx context.Context, p GroupUserParams) (RemovedFromGroup, error) {
	return run[RemovedFromGroup](ctx, s, "chat.leave", p)
}

// RemoveFromGroup is the verb chat.remove: it ends the membership of others.
func (s *Server) RemoveFromGroup(ctx context.Context, p RemoveFromGroupParams) (RemovedFromGroup, error) {
	return run[RemovedFromGroup](ctx, s, "chat.remove", p)
}

// SetRole is the verb chat.role: it gives a member of a group another role.
func (s *Server) SetRole(ctx context.Context, p SetRoleParams) (RoleResult, error) {
	return run[RoleResult](ctx, s, "chat.role", p)
}

// DeleteGroup is the verb chat.delete: it ends all memberships of a group, and what is kept about it.
func (s *Server) DeleteGroup(ctx context.Context, p DeleteGroupParams) (DeletedGroup, error) {
	return run[DeletedGroup](ctx, s, "chat.delete", p)
}

// Roster is the verb chat.members: it lists the members of a conversation, with their roles and marks.
func (s *Server) Roster(ctx context.Context, p RosterParams) (RosterPage, error) {
	return run[RosterPage](ctx, s, "chat.members", p)
}

// Mark is the verb chat.mark: it moves the marks of a member of a conversation.
func (s *Server) Mark(ctx context.Context, p MarkParams) (Marked, error) {
	return run[Marked](ctx, s, "chat.mark", p)
}

// EditMessage is the verb chat.edit: it puts other content in the place of a message's.
func (s *Server) EditMessage(ctx context.Context, p EditParams) (EditedMessage, error) {
	return run[EditedMessage](ctx, s, "chat.edit", p)
}

// SetAlerts is the verb chat.alerts: it says of which messages a member wants to be told when he is away.
func (s *Server) SetAlerts(ctx context.Context, p AlertsParams) (AlertsResult, error) {
	return run[AlertsResult](ctx, s, "chat.alerts", p)
}

// BlockPeer is the verb chat.block: it has a user not be written to, or brought into groups, by another.
func (s *Server) BlockPeer(ctx context.Context, p BlockPeerParams) (BlockPeerResult, error) {
	return run[BlockPeerResult](ctx, s, "chat.block", p)
}

// BlockedPeers is the verb chat.blocked: it lists whom a user has blocked.
func (s *Server) BlockedPeers(ctx context.Context, p BlockedPeersParams) (BlockedPeersPage, error) {
	return run[BlockedPeersPage](ctx, s, "chat.blocked", p)
}
