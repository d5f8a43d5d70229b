package store

import "context"

// Campaign is a job that pushes one message to many users. What it is and how
// it went is the owner's; the store keeps who works on it and how far he is.
type Campaign struct {
	ID    string // 1 to 64 bytes
	State string // a word of at most 16 bytes
	Plan  []byte // what it is, at most 1 MiB
	Notes []byte // how it went; may be empty, at most 64 KiB
	// Next is when there is something to do, in Unix milliseconds; 0: nothing is.
	Next    int64
	Cursor  string // how far the work has come, at most 1,100 bytes; see [Step]
	Created int64  // Unix milliseconds
	// Version is another one after each change but a step or one of its list; it never
	// comes again.
	Version uint64
	// Owner works on it until Until (Unix milliseconds); "": nobody.
	Owner string
	Until int64
}

// PutCampaign makes a campaign, with the cursor and the time that are given, or changes
// all of one but its cursor, its list, and when it was created. A claim ends, or is that
// of Owner up to Until with Keep. The result is [CampaignPut].
type PutCampaign struct {
	Campaign // Version does not matter; Owner and Until neither, unless Keep
	// If is the version that must be there, 0: none; otherwise nothing changes and the
	// error is [ErrConflict].
	If   uint64
	Keep bool
}

// CampaignPut is the result of [PutCampaign].
type CampaignPut struct{ Version uint64 }

// ClaimCampaign gives a campaign whose Next has come to one owner, as [ClaimSchedule]
// does with a schedule. The result is
// [CampaignClaimed].
type ClaimCampaign struct {
	ID    string
	Owner string
	Now   int64
	Until int64
}

// CampaignClaimed is the result of [ClaimCampaign].
type CampaignClaimed struct {
	OK       bool
	Campaign Campaign
}

// AddToCampaign adds users to the list of a campaign; those that are in it stay once.
// The result is [CampaignList].
type AddToCampaign struct {
	ID    string   // of a campaign that is there, else [ErrNotFound]
	Users []string // at most 10,000
}

// CampaignList is the result of [AddToCampaign].
type CampaignList struct{ Count int64 } // how many are in the list now

// DeleteCampaign forgets a campaign and its list; records stay. It is repeated while
// More; meanwhile nobody can claim the campaign or go on with it. One that is not there
// is [ErrNotFound]. The result is [CampaignDeleted].
type DeleteCampaign struct{ ID string }

// CampaignDeleted is the result of [DeleteCampaign].
type CampaignDeleted struct{ More bool }

// CampaignReader reads campaigns.
type CampaignReader interface {
	// Campaign gives one; [ErrNotFound] when there is none.
	Campaign(ctx context.Context, id string) (Campaign, error)
	// Campaigns lists them, the newest (by id, backwards) first: before is the last of the
	// page before, "" for the first. state "" is all.
	Campaigns(ctx context.Context, state, before string, limit int) ([]Campaign, error)
	// DueCampaigns lists those with the smallest Next that somebody can claim at some time,
	// the first first: id and when.
	DueCampaigns(ctx context.Context, limit int) ([]DueSchedule, error)
	// CampaignUsers reads the list of a campaign, by the bytes of the ids.
	CampaignUsers(ctx context.Context, id, after string, limit int) ([]string, error)
	// CampaignSize is how many are in the list.
	CampaignSize(ctx context.Context, id string) (int64, error)
}

func (PutCampaign) command()    {}
func (ClaimCampaign) command()  {}
func (AddToCampaign) command()  {}
func (DeleteCampaign) command() {}
func (CampaignPut) result()     {}
func (CampaignClaimed) result() {}
func (CampaignList) result()    {}
func (CampaignDeleted) result() {}
