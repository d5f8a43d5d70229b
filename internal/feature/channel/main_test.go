package channel_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/channel"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub with sessions and the feature.
type world struct{ *sessiontest.World }

func start(t *testing.T) *world {
	t.Helper()
	w := &world{sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{
		{Name: "room", Kind: "event", Subscribe: auth.Anyone, Publish: auth.User, PresenceTo: auth.Anyone, Presence: hub.PresenceMembers},
		{Name: "hall", Kind: "event", Subscribe: auth.Anyone, Publish: auth.Server, PresenceTo: auth.Anyone, Presence: hub.PresenceCounts},
		{Name: "dark", Kind: "event", Subscribe: auth.User, Publish: auth.User, PresenceTo: auth.Anyone},
	}})}
	channel.New(channel.Config{Hub: w.Hub, Memo: w.Memo, Subscriptions: func() int { return 5 }}, w.Server, w.Verbs)
	return w
}
