package config

import "strings"

// Closest gives the candidate that was probably meant, "" when none is near:
// one begins with the other, or at most a third of the letters differ. Case and
// separators never count.
func Closest(got string, candidates []string) string {
	best, least := "", 1<<30
	for _, c := range candidates {
		a, b := plain(got), plain(c)
		d := distance(a, b)
		if min(len(a), len(b)) >= 3 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
			d = min(d, 1)
		}
		if d < least && d <= max(1, min(len(c), len(got))/3) {
			best, least = c, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour (optimal string alignment).
func distance(a, b string) int {
	const long = 64 // no key is longer, and the table is the square of it
	if len(a) > long || len(b) > long {
		return 1 << 20
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			replace := row[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			next[j] = min(row[j]+1, next[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// planned are keys of the design that this version does not have, with the
// reason. A table's sections are "*".
func planned(path string) string {
	return map[string]string{"cluster": "this version runs as one node"}[path]
}

// notHere words the answer to something planned.
func notHere(why, name string) string {
	return why + "; `" + name + "` is not available in it"
}
