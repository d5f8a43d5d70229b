package load

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTrackCountsWhatWentWrong(t *testing.T) {
	for _, tc := range []struct {
		name                        string
		numbers                     []uint64
		sent                        uint64
		missing                     int64
		duplicates, disorders, next uint64
	}{
		{"all in order", []uint64{0, 1, 2}, 3, 0, 0, 0, 3},
		{"nothing came", nil, 4, 4, 0, 0, 0},
		{"a hole", []uint64{0, 3}, 4, 2, 0, 0, 4},
		{"the last ones are lost", []uint64{0, 1}, 5, 3, 0, 0, 2},
		{"the first one is lost", []uint64{1}, 2, 1, 0, 0, 2},
		{"twice", []uint64{0, 0, 1, 1}, 2, 0, 2, 0, 2},
		{"swapped", []uint64{1, 0, 2}, 3, 0, 0, 1, 3},
		{"late and then again", []uint64{0, 2, 1, 1}, 3, 0, 1, 1, 3},
		{"a leap beyond the window", []uint64{0, 500}, 501, 499, 0, 0, 501},
		{"late beyond the window", []uint64{500, 0}, 501, 499, 0, 1, 501},
		{"just inside the window", []uint64{0, 63, 0}, 64, 62, 1, 0, 64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var tr track
			for _, n := range tc.numbers {
				tr.take(n)
			}
			if tr.missing(tc.sent) != tc.missing {
				t.Errorf("%d are missing, want %d", tr.missing(tc.sent), tc.missing)
			}
			if uint64(tr.duplicates) != tc.duplicates || uint64(tr.disorders) != tc.disorders || tr.next != tc.next {
				t.Errorf("%+v, want %d duplicates, %d out of order", tr, tc.duplicates, tc.disorders)
			}
		})
	}
}

func TestTrackAgreesWithASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOf(rapid.Uint64Range(0, window-1)).Draw(t, "numbers")
		var tr track
		set := map[uint64]bool{}
		duplicates := 0
		for _, n := range numbers {
			if set[n] {
				duplicates++
			}
			set[n] = true
			tr.take(n)
		}
		if int(tr.received) != len(set) || int(tr.duplicates) != duplicates {
			t.Fatalf("%+v after %v; %d different, %d duplicates", tr, numbers, len(set), duplicates)
		}
		if slices.IsSorted(numbers) && tr.disorders != 0 {
			t.Fatalf("%d out of order in %v", tr.disorders, numbers)
		}
	})
}
