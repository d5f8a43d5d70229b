package hub_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/hub"
)

func TestMembersAreListedInPages(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	w.join(crowd(25)...)
	w.join("u0007", "", "", "u0024")
	ch := w.Channel("room:1")
	var sizes []int
	seen := map[string]int{}
	anonymous := 0
	after, more := (hub.MemberKey{}), true
	for more {
		var page []hub.Member
		page, after, more = ch.Members(after, 10)
		sizes = append(sizes, len(page))
		for _, m := range page {
			if m.User == "" {
				anonymous++
			} else {
				seen[m.User] += m.Connections
			}
		}
		// Who comes before the place does not disturb it.
		w.join(fmt.Sprintf("a%d", len(sizes)))
	}
	if diff := cmp.Diff([]int{10, 10, 7}, sizes); diff != "" {
		t.Error(diff)
	}
	if len(seen) != 25 || seen["u0007"] != 2 || seen["u0024"] != 2 || anonymous != 2 {
		t.Errorf("%d users, %d anonymous: %v", len(seen), anonymous, seen)
	}
	if page, _, more := ch.Members(hub.MemberKey{}, 0); page != nil || more {
		t.Errorf("a page of nobody is %v, %v", page, more)
	}
}
