// Package storetest is the suite that every implementation of [store.Store] must
// pass. It is exported for those who write one of their own:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func() storetest.Opener {
//			dir := t.TempDir()
//			return func(opt store.Options) (store.Store, error) { return mine.Open(dir, opt) }
//		})
//	}
//
// # What it needs
//
// A function that gives an empty place for data, again and again: the suite asks
// for some two hundred, so they should be cheap, and t.Cleanup is the way to be
// rid of them. An [Opener] opens a store on the data of one place. The suite
// closes the store before it opens the next one in the same place, and expects to
// find there what was there; it closes every store that it has opened.
//
// A place must be used by nobody else: the suite compares figures of the whole
// store.
//
// # What it does not test
//
// What only the implementation can arrange: the end of the process at a bad
// moment, a full disk, a database that is away, an older schema, damage.
//
// Besides the promises that [store.Store] makes in words, it holds
// implementations to these bounds: epochs have 8 to 16 characters; at least
// 16 MiB and at most 256 MiB wait for a store that is slow; a step of
// [store.Store.Trim] deletes at most twice its budget, and steps that are
// repeated until More is false leave nothing undone that the rules ask for;
// channels, users, tokens, owners and reasons have at most 1,024 bytes and devices
// 512; and what is refused is named as "command 1: add members: Users[0]: …", with
// the place of the command, its name in plain words, the field and the reason.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Opener opens the store of one place. It is called again after the store was
// closed, and finds the same data.
type Opener func(opt store.Options) (store.Store, error)

// patience is how long the suite waits for something that must happen.
const patience = 30 * time.Second

// Run runs the suite. empty gives places that nothing was stored in.
func Run(t *testing.T, empty func() Opener) {
	RunStories(t, empty)
	t.Run("whatever is done, it is like its model", func(t *testing.T) { likeItsModel(t, empty) })
	t.Run("whatever is pushed, it is like its model", func(t *testing.T) { run(t, empty, testPushModel) })
	t.Run("whatever is done with conversations, it is like its model", func(t *testing.T) { run(t, empty, testChatModel) })
	t.Run("whatever is done with members, it is like their model", func(t *testing.T) { tablesLikeTheirModel(drawMembers, checkMembers)(t, empty) })
	t.Run("whatever is known of users, filters are like their model", func(t *testing.T) { filtersLikeTheirModel(t, empty) })
	t.Run("whatever is written into the audit log, it is like its model", func(t *testing.T) { auditLikeItsModel(t, empty) })
	t.Run("whatever is done with schedules, it is like their model", func(t *testing.T) { tablesLikeTheirModel(drawSchedule, checkSchedules)(t, empty) })
}

// RunStories is Run without the models: for another way to open a store that has passed
// them.
func RunStories(t *testing.T, empty func() Opener) {
	cases := []struct {
		name string
		test func(*subject)
	}{
		{"seqs are dense in each channel", testSeqs},
		{"content comes back as it was given", testContent},
		{"what is given stays the caller's", testOwnership},
		{"a group is stored whole or not at all", testGroups},
		{"a group that fails takes no others with it", testNeighbours},
		{"readers see whole groups", testWholeGroups},
		{"names are exact", testNames},
		{"what cannot be kept is named", testRefused},
		{"keep holds at once", testKeep},
		{"a key is used once", testKeys},
		{"a key is exact", testKeyBytes},
		{"a key ends with its time", testKeyExpires},
		{"a key outlives its message", testKeyOutlives},
		{"a key that many use at once is used once", testKeyRace},
		{"a recall leaves a stub", testRecall},
		{"a recall of what is not there fails", testRecallMissing},
		{"recalls are listed for those who missed them", testRecalls},
		{"pages both ways", testPages},
		{"pages end with their bytes", testPageBytes},
		{"pages are of one moment", testPageSnapshot},
		{"trim keeps the newest by count", testTrimCount},
		{"trim counts in every channel", testTrimManyChannels},
		{"trim deletes what is old, from the beginning on", testTrimAge},
		{"trim goes by the rules of now", testTrimRules},
		{"trim takes small steps", testTrimBudget},
		{"trim deletes expired keys", testTrimKeys},
		{"a document has versions", testDocument},
		{"a repeat of a patch needs no version", testDocumentKeys},
		{"a group with a document is stored whole or not at all", testDocumentGroups},
		{"a version is made once", testDocumentRace},
		{"the newest snapshot is kept", testSnapshots},
		{"a history is forgotten", testForget},
		{"a document keeps what comes after its snapshot", testDocumentKeep},
		{"trim deletes old patches", testDocumentAge},
		{"trim looks at every document", testDocumentTrimMany},
		{"a document is of one moment", testDocumentPage},
		{"what is committed is told", testTold},
		{"the observer is told", testObserver},
		{"everything is there after a restart", testReopen},
		{"places have epochs of their own", testEpochs(empty)},
		{"who no longer waits is withdrawn", testWithdrawn},
		{"too much is refused", testFull},
		{"a closed store says so", testClosed},
		{"close refuses what waits", testCloseRefuses},
		{"stats count", testStats},
		{"a crowd loses nothing", testCrowd},
		{"members come and go", testMembers},
		{"lists go by bytes", testNamesInPages},
		{"a channel has a hundred thousand members", testManyMembers},
		{"a crowd of members adds up", testMembersCrowd},
		{"what is not about messages is done whole or not at all", testTableGroups},
		{"what is no member, schedule or denial is named", testTablesRefused},
		{"schedules are put and deleted", testSchedules},
		{"a schedule is claimed and finished", testClaims},
		{"schedules are due in order", testDue},
		{"a schedule is given to one of many", testClaimRace},
		{"denials have a seq", testDenials},
		{"who asks for denials misses none", testDenialPoller},
		{"trim deletes expired denials", testTrimDenials},
		{"users were seen", testSeen},
		{"users are put", testUsers},
		{"users are put whole or not at all", testUserGroups},
		{"attributes are merged", testUserMerge},
		{"what is no user, category or campaign is named", testUsersRefused},
		{"many who merge lose nothing", testMergeCrowd},
		{"users mute categories", testMutes},
		{"categories are kept", testCategories},
		{"pages of users have everybody once", testUserPages},
		{"who is deleted leaves nothing", testUserDeleted},
		{"filters choose by attributes", testFilters},
		{"filters that mean nothing are named", testFiltersRefused},
		{"an estimate says what would become of a push", testEstimate},
		{"an estimate of many adds up", testEstimateMany},
		{"campaigns are put and claimed", testCampaigns},
		{"pages of campaigns", testCampaignPages},
		{"campaigns have lists", testCampaignLists},
		{"a campaign is given to one of many", testCampaignRace},
		{"a campaign gets on among other pushes", testCampaignAmongPushes},
	}
	for _, c := range slices.Concat(cases, pushCases(), chatCases(), auditCases()) {
		t.Run(c.name, func(t *testing.T) { run(t, empty, c.test) })
	}
}

func run(t *testing.T, empty func() Opener, test func(*subject)) {
	s := &subject{T: t, place: empty()}
	s.open()
	defer s.close()
	test(s)
}

// subject is a store under test and what it has told.
type subject struct {
	*testing.T
	place Opener
	store store.Store // nil: closed
	told  *recorder
	watch store.Observer
}

func (s *subject) open() {
	s.Helper()
	s.told = newRecorder()
	opened, err := s.place(store.Options{Committed: s.told.committed, Pushed: s.told.pushed, Observer: s.watch})
	if err != nil {
		s.Fatalf("opening: %v", err)
	}
	s.store = opened
}

// close closes the store, after looking whether all is well.
func (s *subject) close() {
	s.Helper()
	if s.store == nil {
		return
	}
	if err := s.store.Check(context.Background(), func(problem string) { s.Errorf("check: %s", problem) }); err != nil {
		s.Errorf("check: %v", err)
	}
	if err := s.store.Close(); err != nil {
		s.Errorf("closing: %v", err)
	}
	s.store = nil
	for _, problem := range s.told.problems() {
		s.Error(problem)
	}
}

func (s *subject) reopen() {
	s.Helper()
	s.close()
	s.open()
}

// do carries out a group that must succeed.
func (s *subject) do(group ...store.Command) []store.Result {
	s.Helper()
	results, err := s.store.Do(s.Context(), group...)
	if err != nil {
		s.Fatalf("%s: %v", group, err)
	}
	if len(results) != len(group) {
		s.Fatalf("%d commands have %d results", len(group), len(results))
	}
	return results
}

// refuses carries out a group that must fail, and gives no results.
func (s *subject) refuses(want error, group ...store.Command) {
	s.Helper()
	results, err := s.store.Do(s.Context(), group...)
	if !errors.Is(err, want) || results != nil {
		s.Fatalf("got %v and the error %v, want the error %v", results, err, want)
	}
}

func (s *subject) append(a store.Append) store.Appended {
	s.Helper()
	return s.do(a)[0].(store.Appended)
}

func (s *subject) recall(r store.Recall) store.Recalled {
	s.Helper()
	return s.do(r)[0].(store.Recalled)
}

// fill appends messages to a channel, in one group; their data are 1, 2, 3 …
// from where the channel is.
func (s *subject) fill(channel string, n int) []store.Append {
	s.Helper()
	top := s.head(channel).Top
	list, group := make([]store.Append, n), make([]store.Command, n)
	for i := range n {
		list[i] = message(channel, fmt.Sprint(top+uint64(i)+1))
		group[i] = list[i]
	}
	s.do(group...)
	return list
}

func (s *subject) heads(channels ...string) []store.Head {
	s.Helper()
	heads, err := s.store.Heads(s.Context(), channels...)
	if err != nil {
		s.Fatalf("heads: %v", err)
	}
	if len(heads) != len(channels) {
		s.Fatalf("%d channels have %d heads", len(channels), len(heads))
	}
	return heads
}

func (s *subject) head(channel string) store.Head {
	s.Helper()
	return s.heads(channel)[0]
}

// headIs compares a head with what it should be, the epoch apart.
func (s *subject) headIs(channel string, top, floor, recalled uint64) {
	s.Helper()
	got := s.head(channel)
	want := store.Head{Epoch: got.Epoch, Top: top, Floor: floor, Recalled: recalled}
	got.Recalls = 0 // its rows are about that alone
	if got != want {
		s.Fatalf("the head of %q is %+v, want %+v", channel, got, want)
	}
}

func (s *subject) read(q store.Query) store.Page {
	s.Helper()
	page, err := s.store.Read(s.Context(), q)
	if err != nil {
		s.Fatalf("%+v: %v", q, err)
	}
	return page
}

// all reads a whole channel.
func (s *subject) all(channel string) []store.Message {
	s.Helper()
	page := s.read(store.Query{Channel: channel, Limit: 1 << 20})
	if page.More {
		s.Fatalf("there is more of %q than %d messages", channel, len(page.Messages))
	}
	return page.Messages
}

// seqs reads a whole channel and gives its seqs.
func (s *subject) seqs(channel string) []uint64 {
	s.Helper()
	return seqs(s.all(channel))
}

func (s *subject) recalls(channel string, since uint64, limit int) []store.Message {
	s.Helper()
	list, err := s.store.Recalls(s.Context(), channel, since, limit)
	if err != nil {
		s.Fatalf("recalls: %v", err)
	}
	return list
}

// trim takes steps until there is nothing more to do, and gives their sum.
func (s *subject) trim(now int64, budget int, rules ...store.Keep) (sum store.Trimmed) {
	s.Helper()
	for range 100_000 {
		step, err := s.store.Trim(s.Context(), rules, time.UnixMilli(now), budget)
		if err != nil {
			s.Fatalf("trim: %v", err)
		}
		if step.Messages > 2*budget || step.Keys > 2*budget {
			s.Fatalf("a step with a budget of %d did %+v", budget, step)
		}
		sum.Messages += step.Messages
		sum.Keys += step.Keys
		if !step.More {
			return sum
		}
	}
	s.Fatal("trim finds no end")
	return sum
}

// wholeBytes compares bytes at once; one by one it takes minutes for large ones.
var wholeBytes = cmp.Comparer(func(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) })

func (s *subject) equal(what string, want, got any) {
	s.Helper()
	if diff := cmp.Diff(want, got, wholeBytes); diff != "" {
		s.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func seqs(messages []store.Message) []uint64 {
	list := make([]uint64, 0, len(messages))
	for _, m := range messages {
		list = append(list, m.Seq)
	}
	return list
}

// between lists the seqs from first to last.
func between(first, last uint64) []uint64 {
	list := make([]uint64, 0, last+1-first)
	for seq := first; seq <= last; seq++ {
		list = append(list, seq)
	}
	return list
}

// noon is the time of messages whose time does not matter.
const noon int64 = 1_800_000_000_000

// message is one like those of the server.
func message(channel, data string) store.Append { return messageAt(channel, data, noon) }

func messageAt(channel, data string, ms int64) store.Append {
	return store.Append{
		Channel: channel, ID: id.Message(time.UnixMilli(ms)), Time: ms, Event: protocol.DefaultEvent, Data: []byte(data),
		Sender: protocol.Sender{User: "alice", Device: "phone-1", Connection: id.NewConnection().String()},
	}
}

// keyed is a message with a key that lasts an hour.
func keyed(channel, data, key, content string) store.Append {
	a := message(channel, data)
	a.Key, a.Content, a.Expires = []byte(key), []byte(content), a.Time+time.Hour.Milliseconds()
	return a
}

// stored is the message that an append should have become.
func stored(a store.Append, seq uint64) store.Message {
	return store.Message{Seq: seq, ID: a.ID, Time: a.Time, Event: a.Event, Data: a.Data, Sender: a.Sender, Meta: a.Meta}
}

// stub is what a withdrawn message should have become.
func stub(a store.Append, seq uint64) store.Message {
	return store.Message{Seq: seq, ID: a.ID, Time: a.Time, Recalled: true}
}

// recorder keeps what a store tells, and looks whether it may be told so.
type recorder struct {
	mu      sync.Mutex // guards all below
	commits []store.Commit
	telling map[string]bool
	pushes  []store.Pushed
	tops    map[string]uint64 // of users, as they were told of
	wrong   []string
	gate    *gate
}

// gate stops a store while it tells of a channel.
type gate struct {
	channel  string
	once     sync.Once
	arrived  chan struct{}
	released chan struct{}
}

func newRecorder() *recorder {
	return &recorder{telling: make(map[string]bool), tops: make(map[string]uint64)}
}

func (r *recorder) pushed(pushes []store.Pushed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range pushes {
		p.Rows = append([]store.Row(nil), p.Rows...)
		r.pushes = append(r.pushes, p)
		for _, row := range p.Rows {
			if row.Again || row.Seq == 0 {
				continue
			}
			// Who was deleted and came back begins anew.
			who := fmt.Sprintf("%d %s", row.N, row.User)
			if row.Seq <= r.tops[who] {
				r.wrong = append(r.wrong, fmt.Sprintf("user %q is told of delivery %d after %d", row.User, row.Seq, r.tops[who]))
			}
			r.tops[who] = row.Seq
		}
	}
}

func (r *recorder) committed(commits []store.Commit) {
	channels := make(map[string]bool)
	r.mu.Lock()
	for _, c := range commits {
		channels[c.Channel] = true
		r.commits = append(r.commits, copyOf(c))
	}
	for c := range channels {
		if r.telling[c] {
			r.wrong = append(r.wrong, fmt.Sprintf("channel %q is told twice at the same time", c))
		}
		r.telling[c] = true
	}
	g := r.gate
	r.mu.Unlock()
	if g != nil && channels[g.channel] {
		g.once.Do(func() { close(g.arrived) })
		<-g.released
	}
	r.mu.Lock()
	for c := range channels {
		delete(r.telling, c)
	}
	r.mu.Unlock()
}

// copyOf copies all of a commit, which is good only during the call.
func copyOf(c store.Commit) store.Commit {
	for _, p := range []**store.Message{&c.Message, &c.Recall, &c.Edit} {
		if *p != nil {
			m := **p
			m.Data = bytes.Clone(m.Data)
			*p = &m
		}
	}
	return c
}

// takePushes gives the pushes that were told since it was last asked.
func (r *recorder) takePushes() []store.Pushed {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.pushes
	r.pushes = nil
	return list
}

// take gives what was told since it was last asked.
func (r *recorder) take() []store.Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.commits
	r.commits = nil
	return list
}

func (r *recorder) problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// held appends a message to a channel and stops the store while it tells of it;
// what comes for that channel during the call of fn has to wait.
func (s *subject) held(channel string, fn func()) {
	s.Helper()
	g := &gate{channel: channel, arrived: make(chan struct{}), released: make(chan struct{})}
	s.told.mu.Lock()
	s.told.gate = g
	s.told.mu.Unlock()
	first := make(chan error, 1)
	go func() {
		_, err := s.store.Do(context.Background(), message(channel, `"first"`))
		first <- err
	}()
	release := sync.OnceFunc(func() {
		s.told.mu.Lock()
		s.told.gate = nil
		s.told.mu.Unlock()
		close(g.released)
	})
	defer release()
	await(s, g.arrived, "the store tells of the first message")
	fn()
	release()
	if err := await(s, first, "the first message is answered"); err != nil {
		s.Errorf("the first message: %v", err)
	}
}

// await receives from c what must come.
func await[V any](s *subject, c <-chan V, what string) V {
	s.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		s.Fatalf("it does not come to pass that %s", what)
		panic("not reached")
	}
}
