package tables

import (
	"context"
	"strings"

	"github.com/skein-realtime/skein/store"
)

// A filter is looked up by index when an index finds few enough; otherwise people are
// gone through in the order that is asked for. Who goes through all of them page by
// page so reads each row once, whatever is chosen.

// How many people may be looked at by index, and put in order, for one page; and for
// all. Whether there are more is counted first, so that it is not free.
const (
	fewForPage = 2_000
	fewForAll  = 100_000
)

// source is a list of selects of numbers of persons, one of which has each person
// that a filter chooses. Empty: there is no index for it.
type source []condition

// union joins the selects; all: a person may come twice.
func (s source) union(word string) (text string, args []any) {
	parts := make([]string, len(s))
	for i := range s {
		parts[i] = string(s[i].text)
		args = append(args, s[i].args...)
	}
	return strings.Join(parts, word), args
}

const sqlFields = `SELECT field FROM person_field`

// sourceOf finds the index that gives the fewest; with none that gives at most so
// many it is empty.
func sourceOf(ctx context.Context, tx Tx, f *store.Filter, most int) (best source, err error) {
	fields := map[string]bool{}
	if err := tx.Query(ctx, sqlFields, func(scan Scan) error {
		var field []byte
		err := scan(&field)
		fields[string(field)] = true
		return err
	}); err != nil {
		return nil, err
	}
	for _, s := range sources(wordsOf(tx.Dialect()), f, fields) {
		text, args := s.union(" UNION ALL ")
		var n int64
		if err := tx.QueryOnce(ctx, `SELECT count(*) FROM (SELECT 1 FROM (`+text+`) AS s LIMIT CAST(? AS bigint)) AS l`, func(scan Scan) error {
			return scan(&n)
		}, append(args, int64(most))...); err != nil {
			return nil, err
		}
		if int(n) < most {
			best, most = s, int(n)
		}
	}
	return best, nil
}

// sources gives what indexes can say of a filter: each has all that it chooses.
func sources(w words, f *store.Filter, fields map[string]bool) (list []source) {
	switch {
	case f.All != nil:
		bounds := map[string][]comparison{}
		for _, leaf := range flatten(f, nil) {
			if of := boundsOf(leaf, fields); of != nil {
				p := path(leaf.Field).String()
				bounds[p] = append(bounds[p], of...)
				continue
			}
			list = append(list, sources(w, leaf, fields)...)
		}
		for p, of := range bounds {
			list = append(list, source{comparing(w, p, of)})
		}
	case f.Any != nil:
		var all source
		for i := range f.Any {
			of := sources(w, &f.Any[i], fields)
			if len(of) == 0 {
				return nil
			}
			all = append(all, of[0]...)
		}
		if len(all) > maxUnion {
			return nil
		}
		return []source{all}
	case f.Tag != "":
		var c condition
		c.write("SELECT n FROM person_tag WHERE tag = ?")
		c.args = []any{[]byte(f.Tag)}
		return []source{{c}}
	case f.Field != "" && fields[path(f.Field).String()]:
		if s := sourceOfField(w, f); s != nil {
			return []source{s}
		}
	}
	return list
}

// flatten gives the filters that must all be true, with those of All in All.
func flatten(f *store.Filter, list []*store.Filter) []*store.Filter {
	for i := range f.All {
		if inner := &f.All[i]; inner.All != nil {
			list = flatten(inner, list)
		} else {
			list = append(list, inner)
		}
	}
	return list
}

// boundsOf gives the bounds that a filter sets to a field with an index, so that
// a lower and an upper one may come from two filters.
func boundsOf(f *store.Filter, fields map[string]bool) []comparison {
	if f.Gt == nil && f.Gte == nil && f.Lt == nil && f.Lte == nil || !fields[path(f.Field).String()] {
		return nil
	}
	return comparisons(f)
}

// maxUnion is how many selects a source may have.
const maxUnion = 100

func sourceOfField(w words, f *store.Filter) (s source) {
	p := path(f.Field)
	if f.In == nil {
		list := comparisons(f)
		if len(list) == 0 || list[0].kind > isNumber {
			return nil
		}
		return source{comparing(w, f.Field, list)}
	}
	for _, values := range byKind(f.In) {
		if values[0].kind > isNumber {
			return nil
		}
		var together []comparison
		for _, x := range values {
			if w.near(x) {
				s = append(s, comparing(w, f.Field, []comparison{x}))
			} else {
				together = append(together, x)
			}
		}
		if len(together) > 0 {
			var c condition
			c.write(selectPersons)
			w.indexedIn(&c, p, together)
			s = append(s, c)
		}
	}
	if len(s) > maxUnion {
		return nil
	}
	return s
}

const selectPersons = "SELECT n FROM person WHERE attributes IS NOT NULL AND "

// comparing selects by comparisons that must all be true.
func comparing(w words, field string, list []comparison) (c condition) {
	c.write(selectPersons)
	for i, x := range list {
		if i > 0 {
			c.write(" AND ")
		}
		w.indexed(&c, path(field), x)
	}
	return c
}

// chosen writes a query about the persons that a filter chooses: what is selected,
// what else must be true, and what comes after. args are those of also and then.
func chosen(s source, w words, f *store.Filter, selected, also, then string, args ...any) (query string, all []any) {
	from := " FROM person AS p WHERE p.attributes IS NOT NULL"
	before := ""
	if len(s) > 0 {
		var text string
		text, all = s.union(" UNION ")
		before = "WITH d AS MATERIALIZED (" + text + ") "
		from = " FROM d CROSS JOIN person AS p WHERE p.n = d.n AND p.attributes IS NOT NULL"
	}
	var c condition
	if len(s) > 0 || then != "" { // few rows are looked at
		c.singly = w.singly()
	}
	c.filter(w, f)
	// The arguments of also come before those of the filter, and those of then behind.
	n := strings.Count(also, "?")
	all = append(append(append(all, args[:n]...), c.args...), args[n:]...)
	return before + "SELECT " + selected + from + also + " AND " + string(c.text) + then, all
}
