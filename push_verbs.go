package skein

import (
	"context"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	pushes "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/feature/users"
	"github.com/skein-realtime/skein/store"
)

// The params and results of the verbs of pushes and users, as docs and the HTTP API name
// them. Where has a [Filter]; an Audience is one of users, where, members and all.
type (
	Filter               = store.Filter
	Audience             = audience.Target
	Where                = audience.Where
	ListAudience         = audience.ListTarget
	UsersPutParams       = users.PutParams
	UserPut              = users.Put
	UsersChanged         = users.Changed
	UserGetParams        = users.GetParams
	KnownUser            = users.User
	UsersQueryParams     = users.QueryParams
	UsersPage            = users.Page
	UsersDeleteParams    = users.DeleteParams
	UsersDeleted         = users.Deleted
	PushParams           = pushes.Params
	PushResult           = pushes.Result
	PushCounts           = pushes.Counts
	PushEstimate         = pushes.Estimate
	Moment               = pushes.Moment
	InboxParams          = pushes.ListParams
	InboxPage            = pushes.List
	InboxItem            = pushes.Item
	InboxMarkParams      = pushes.MarkParams
	Acknowledged         = pushes.Acknowledged
	InboxMarked          = pushes.Marked
	RecordsParams        = pushes.RecordsParams
	RecordsPage          = pushes.RecordPage
	Record               = pushes.Record
	Outcome              = pushes.Outcome
	Outcomes             = pushes.Outcomes
	ExplainParams        = pushes.ExplainParams
	Explained            = pushes.Explained
	CategoryPutParams    = pushes.PutCategoryParams
	CategoryItem         = pushes.CategoryItem
	CategoriesList       = pushes.CategoryList
	CategoryDeleteParams = pushes.DeleteCategoryParams
	MuteParams           = pushes.MuteParams
	MuteResult           = pushes.Muted
	CampaignParams       = campaign.CreateParams
	CampaignExpiry       = campaign.Expiry
	Campaign             = campaign.Campaign
	CampaignCounts       = campaign.Counts
	CampaignAddParams    = campaign.AddParams
	CampaignAdded        = campaign.AddResult
	EstimateParams       = campaign.EstimateParams
	CampaignEstimate     = campaign.Estimate
	CampaignIDParams     = campaign.IDParams
	CampaignListParams   = campaign.ListParams
	CampaignsPage        = campaign.Page
)

// PutUsers is the verb users.put: it says what is known of users, so that they can be chosen by it.
func (s *Server) PutUsers(ctx context.Context, p UsersPutParams) (UsersChanged, error) {
	return run[UsersChanged](ctx, s, "users.put", p)
}

// User is the verb users.get: it tells what is known of a user.
func (s *Server) User(ctx context.Context, p UserGetParams) (KnownUser, error) {
	return run[KnownUser](ctx, s, "users.get", p)
}

// QueryUsers is the verb users.query: it lists the users whose attributes fulfil a filter.
func (s *Server) QueryUsers(ctx context.Context, p UsersQueryParams) (UsersPage, error) {
	return run[UsersPage](ctx, s, "users.query", p)
}

// DeleteUsers is the verb users.delete: it forgets users, with their inboxes and records.
func (s *Server) DeleteUsers(ctx context.Context, p UsersDeleteParams) (UsersDeleted, error) {
	return run[UsersDeleted](ctx, s, "users.delete", p)
}

// Push is the verb push: it puts a message into the inboxes of users, and brings it to their devices as far as its category lets it.
func (s *Server) Push(ctx context.Context, p PushParams) (PushResult, error) {
	return run[PushResult](ctx, s, "push", p)
}

// Inbox is the verb inbox.list: it reads the inbox of a user, a page at a time.
func (s *Server) Inbox(ctx context.Context, p InboxParams) (InboxPage, error) {
	return run[InboxPage](ctx, s, "inbox.list", p)
}

// MarkInbox is the verb inbox.mark: it says that messages of an inbox were read, or were delivered.
func (s *Server) MarkInbox(ctx context.Context, p InboxMarkParams) (InboxMarked, error) {
	return run[InboxMarked](ctx, s, "inbox.mark", p)
}

// Records is the verb records: it tells what became of messages, the newest first.
func (s *Server) Records(ctx context.Context, p RecordsParams) (RecordsPage, error) {
	return run[RecordsPage](ctx, s, "records", p)
}

// Explain is the verb explain: it tells whether a message of a category would interrupt a user now, and if not, which rule says so.
func (s *Server) Explain(ctx context.Context, p ExplainParams) (Explained, error) {
	return run[Explained](ctx, s, "explain", p)
}

// PutCategory is the verb categories.put: it keeps a category: how often, and when, its messages may interrupt a user.
func (s *Server) PutCategory(ctx context.Context, p CategoryPutParams) (CategoryItem, error) {
	return run[CategoryItem](ctx, s, "categories.put", p)
}

// Categories is the verb categories.list: it lists the categories.
func (s *Server) Categories(ctx context.Context) (CategoriesList, error) {
	return run[CategoriesList](ctx, s, "categories.list", nil)
}

// DeleteCategory is the verb categories.delete: it forgets a category.
func (s *Server) DeleteCategory(ctx context.Context, p CategoryDeleteParams) error {
	return s.Call(ctx, "categories.delete", p, nil)
}

// MuteCategory is the verb categories.mute: it mutes a category for a user, or unmutes it.
func (s *Server) MuteCategory(ctx context.Context, p MuteParams) (MuteResult, error) {
	return run[MuteResult](ctx, s, "categories.mute", p)
}

// CreateCampaign is the verb campaigns.create: it makes a campaign: a message, whom it is for, and how fast.
func (s *Server) CreateCampaign(ctx context.Context, p CampaignParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.create", p)
}

// AddToCampaign is the verb campaigns.add: it adds users to the list of a campaign that was not started.
func (s *Server) AddToCampaign(ctx context.Context, p CampaignAddParams) (CampaignAdded, error) {
	return run[CampaignAdded](ctx, s, "campaigns.add", p)
}

// EstimateCampaign is the verb campaigns.estimate: it tells what would become of a campaign, or of a push, now.
func (s *Server) EstimateCampaign(ctx context.Context, p EstimateParams) (CampaignEstimate, error) {
	return run[CampaignEstimate](ctx, s, "campaigns.estimate", p)
}

// StartCampaign is the verb campaigns.start: it starts a campaign, at once or at its time.
func (s *Server) StartCampaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.start", p)
}

// PauseCampaign is the verb campaigns.pause: it stops a campaign until it is resumed.
func (s *Server) PauseCampaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.pause", p)
}

// ResumeCampaign is the verb campaigns.resume: it goes on with a campaign that was paused.
func (s *Server) ResumeCampaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.resume", p)
}

// CancelCampaign is the verb campaigns.cancel: it ends a campaign; what was pushed stays.
func (s *Server) CancelCampaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.cancel", p)
}

// RecallCampaign is the verb campaigns.recall: it ends a campaign and withdraws its message from everybody who has not acknowledged it.
func (s *Server) RecallCampaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.recall", p)
}

// Campaign is the verb campaigns.get: it shows a campaign and how far it has come.
func (s *Server) Campaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.get", p)
}

// Campaigns is the verb campaigns.list: it lists campaigns, the newest first.
func (s *Server) Campaigns(ctx context.Context, p CampaignListParams) (CampaignsPage, error) {
	return run[CampaignsPage](ctx, s, "campaigns.list", p)
}

// DeleteCampaign is the verb campaigns.delete: it forgets a campaign that does not run; its records stay.
func (s *Server) DeleteCampaign(ctx context.Context, p CampaignIDParams) (Campaign, error) {
	return run[Campaign](ctx, s, "campaigns.delete", p)
}
