package access_test

import (
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/test/pgtest"
)

func idOf(user, token string) auth.Identity { return auth.Identity{User: user, Token: token} }

// Two nodes with connections of their own to one PostgreSQL.
func TestNodesShareADatabase(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	node := func() *node {
		st, err := postgres.Open(t.Context(), postgres.Config{URL: url, Writers: 2, Readers: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		return start(t, st, st.Shared())
	}
	here, there := node(), node()
	share(t, here, there)
	begin := time.Now()
	here.Saw("ann", "phone", begin)
	here.Close()
	got, err := there.LastSeen(t.Context(), []string{"ann"})
	if err != nil || got[0].Device != "phone" || got[0].Time != begin.UnixMilli() {
		t.Errorf("got %v, %v", got, err)
	}
}
