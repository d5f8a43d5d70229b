package presence_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/presence"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub with sessions and the feature.
type world struct{ *sessiontest.World }

func start(t *testing.T) *world {
	t.Helper()
	w := &world{sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{
		{Name: "crowd", Kind: "event", Subscribe: auth.Anyone, PresenceTo: auth.Anyone, Presence: hub.PresenceMembers, PresenceMax: 2, PresenceGrace: time.Hour},
		{Name: "room", Kind: "event", Subscribe: auth.Anyone, Publish: auth.User, PresenceTo: auth.Anyone, Presence: hub.PresenceMembers},
		{Name: "hall", Kind: "event", Subscribe: auth.Anyone, Publish: auth.Server, PresenceTo: auth.Anyone, Presence: hub.PresenceCounts},
		{Name: "dark", Kind: "event", Subscribe: auth.User, Publish: auth.User, PresenceTo: auth.Anyone},
	}})}
	presence.New(w.Hub, w.Server, w.Verbs)
	return w
}
