package verb

import "github.com/skein-realtime/skein/internal/fault"

// Entries of a page when none are asked for, and at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

// PageLimit reads the param limit of a verb that gives pages; 0: it is absent.
func PageLimit(limit int) (int, error) {
	if limit == 0 {
		return defaultPage, nil
	}
	if limit < 1 || limit > maxPage {
		return 0, fault.Field("limit", "%d is not between 1 and %d", limit, maxPage)
	}
	return limit, nil
}
