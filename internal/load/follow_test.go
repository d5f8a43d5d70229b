package load

import "testing"

func TestFollowCountsWhatIsNotNext(t *testing.T) {
	for _, tc := range []struct {
		name             string
		until            uint64
		seqs             []uint64
		missing, doubled uint64
		caught           int // the place in seqs that makes up for the time away; -1: none
	}{
		{"all in order", 0, []uint64{8, 9, 10}, 0, 0, -1},
		{"what was missed, and more", 9, []uint64{8, 9, 10}, 0, 0, 1},
		{"a hole", 0, []uint64{8, 11}, 2, 0, -1},
		{"twice", 0, []uint64{8, 8, 9}, 0, 1, -1},
		{"one that it had before", 8, []uint64{7, 8}, 0, 1, 1},
		{"swapped", 9, []uint64{9, 8}, 1, 1, 0},
		{"the last one is missing", 10, []uint64{8, 9}, 0, 0, -1},
		{"beyond the last one", 9, []uint64{8, 10}, 1, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := follow{place: place{"epoch", 7}, until: tc.until}
			caught := -1
			for i, seq := range tc.seqs {
				if f.take(seq) {
					if caught >= 0 {
						t.Errorf("%d made up for the time away again", seq)
					}
					caught = i
				}
			}
			if f.missing != tc.missing || f.doubled != tc.doubled || caught != tc.caught {
				t.Errorf("%d missing, %d doubled, caught up at %d; want %d, %d, %d", f.missing, f.doubled, caught, tc.missing, tc.doubled, tc.caught)
			}
		})
	}
}

func TestSubAsksWhereToGoOn(t *testing.T) {
	for want, o := range map[string]Opening{
		`{"type":"sub","id":1,"channel":"log:a"}`:                                   {Channel: "log:a"},
		`{"type":"sub","id":1,"channel":"log:a","since":{"epoch":"k3v9","seq":12}}`: {Channel: "log:a", since: &place{"k3v9", 12}},
	} {
		if got := o.sub(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
