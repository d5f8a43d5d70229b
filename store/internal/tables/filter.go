package tables

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/store"
)

// A filter becomes a condition on a row of person, called p. What it compares with is
// given as arguments; of what comes from outside only the names in pointers are in
// the text, as constants, because an index is found by its text.
//
// A condition may be null where it should be false; only Not makes a difference of
// that, and asks for it.

// condition is a part of a query with its arguments.
type condition struct {
	text []byte
	args []any
	// singly ends a subquery that is to be asked for each row: with a list of all that
	// have a tag, a page of ten would read them all.
	singly string
}

func (c *condition) write(format string, args ...any) { c.text = fmt.Appendf(c.text, format, args...) }

// comparison is what a filter says of a field, with its values read.
type comparison struct {
	op     string // =, <, <=, >, >=
	text   string
	number float64
	kind   kind
}

type kind uint8

const (
	isText kind = iota
	isNumber
	isTrue
	isFalse
	isNull
)

// compare reads a value of a filter that was found good.
func compare(op string, raw json.RawMessage) comparison {
	c := comparison{op: op}
	var value any
	_ = json.Unmarshal(raw, &value) // it was read before
	switch value := value.(type) {
	case string:
		c.text = value
	case float64:
		c.kind, c.number = isNumber, value
	case bool:
		c.kind = isFalse
		if value {
			c.kind = isTrue
		}
	default:
		c.kind = isNull
	}
	return c
}

// comparisons gives what must be true of the field together; not those of In.
func comparisons(f *store.Filter) (list []comparison) {
	for _, x := range []struct {
		op  string
		raw json.RawMessage
	}{{"=", f.Eq}, {">", f.Gt}, {">=", f.Gte}, {"<", f.Lt}, {"<=", f.Lte}} {
		if x.raw != nil {
			list = append(list, compare(x.op, x.raw))
		}
	}
	if f.Prefix != "" {
		list = append(list, comparison{op: ">=", text: f.Prefix})
		if end := afterPrefix(f.Prefix); end != "" {
			list = append(list, comparison{op: "<", text: end})
		}
	}
	return list
}

// afterPrefix is the first text that comes after all that begin with a prefix; "":
// there is none.
func afterPrefix(prefix string) string {
	for len(prefix) > 0 {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch {
		case last == 0xD7FF:
			return prefix + "\uE000" // what lies between are no characters
		case last < utf8.MaxRune:
			return prefix + string(last+1)
		}
	}
	return ""
}

// words are what the databases have for places in attributes.
type words interface {
	// typed is the condition that a place has a value of a kind.
	typed(p tree.Path, k kind) string
	// there is the condition that a place has any value.
	there(p tree.Path) string
	// value is the text, or the number, that a place has; null: it has none. It is not
	// what an index has, so that the database does not choose to look it up there.
	value(p tree.Path, k kind) string
	// arg is the place of an argument that is compared with a value.
	arg(k kind) string
	// indexed is the condition that an index can answer. It is true of all for which
	// the comparison is true, and perhaps of others.
	indexed(c *condition, p tree.Path, x comparison)
	// indexedIn is the same for texts, or numbers, of which it has one. Those that are
	// near others have to be asked for one by one.
	indexedIn(c *condition, p tree.Path, values []comparison)
	near(x comparison) bool
	// indexes are the statements that make the indexes of a place, by their names.
	indexes(p tree.Path, name string) map[string]string
	// singly ends a subquery that must not become a join.
	singly() string
}

func wordsOf(d Dialect) words {
	if d == SQLite {
		return sqliteWords{}
	}
	return postgresWords{}
}

// path reads a pointer that was found good.
func path(pointer string) tree.Path {
	p, _ := tree.ParsePath(pointer)
	return p
}

// filter writes what a filter says.
func (c *condition) filter(w words, f *store.Filter) {
	switch {
	case f.All != nil:
		c.join(w, f.All, " AND ")
	case f.Any != nil:
		c.join(w, f.Any, " OR ")
	case f.Not != nil:
		c.write("((")
		c.filter(w, f.Not)
		c.write(") IS NOT TRUE)")
	case f.Tag != "":
		c.write("EXISTS (SELECT 1 FROM person_tag AS t WHERE t.tag = ? AND t.n = p.n%s)", c.singly)
		c.args = append(c.args, []byte(f.Tag))
	case f.Field != "":
		c.field(w, f)
	default:
		c.write("(1 = 1)")
	}
}

func (c *condition) join(w words, list []store.Filter, word string) {
	c.write("(")
	for i := range list {
		if i > 0 {
			c.write("%s", word)
		}
		c.filter(w, &list[i])
	}
	c.write(")")
}

func (c *condition) field(w words, f *store.Filter) {
	p := path(f.Field)
	switch {
	case f.Exists != nil && *f.Exists:
		c.write("(%s)", w.there(p))
	case f.Exists != nil:
		c.write("(NOT (%s))", w.there(p))
	case f.In != nil:
		c.in(w, p, f.In)
	default:
		c.write("(")
		for i, x := range comparisons(f) {
			if i > 0 {
				c.write(" AND ")
			}
			c.compare(w, p, x)
		}
		c.write(")")
	}
}

func (c *condition) compare(w words, p tree.Path, x comparison) {
	if x.kind > isNumber {
		c.write("%s", w.typed(p, x.kind))
		return
	}
	c.write("%s %s %s", w.value(p, x.kind), x.op, w.arg(x.kind))
	c.value(x)
}

func (c *condition) value(x comparison) {
	if x.kind == isText {
		c.args = append(c.args, x.text)
	} else {
		c.args = append(c.args, x.number)
	}
}

// in writes one condition for the values of each kind.
func (c *condition) in(w words, p tree.Path, raws []json.RawMessage) {
	c.write("(")
	for i, values := range byKind(raws) {
		if i > 0 {
			c.write(" OR ")
		}
		k := values[0].kind
		if k > isNumber {
			c.write("(%s)", w.typed(p, k))
			continue
		}
		c.write("%s IN (", w.value(p, k))
		c.values(w, values)
		c.write(")")
	}
	c.write(")")
}

// values writes places for arguments.
func (c *condition) values(w words, values []comparison) {
	for i, x := range values {
		if i > 0 {
			c.write(", ")
		}
		c.write("%s", w.arg(x.kind))
		c.value(x)
	}
}

// byKind gives the values of an In, those of a kind together.
func byKind(raws []json.RawMessage) (lists [][]comparison) {
	var of [isNull + 1][]comparison
	for _, raw := range raws {
		x := compare("=", raw)
		of[x.kind] = append(of[x.kind], x)
	}
	for _, values := range of {
		if len(values) > 0 {
			lists = append(lists, values)
		}
	}
	return lists
}

// sqliteWords are those of SQLite, whose attributes are JSONB. An index has what
// json_extract gives: texts, numbers as integers or floating point, 1 and 0 for true
// and false, and JSON for objects and lists. It orders numbers before texts.
type sqliteWords struct{}

// sqlitePath is a pointer as SQLite's functions have it, as a constant.
func sqlitePath(p tree.Path) string {
	var b strings.Builder
	b.WriteString("$")
	for _, name := range p {
		quoted, _ := attributes{name: 0}.text() // {"name":0}
		b.WriteString("." + string(quoted[1:len(quoted)-len(":0}")]))
	}
	return "'" + strings.ReplaceAll(b.String(), "'", "''") + "'"
}

func (sqliteWords) extract(p tree.Path) string {
	return "json_extract(attributes, " + sqlitePath(p) + ")"
}

func (sqliteWords) typed(p tree.Path, k kind) string {
	is := [...]string{isText: "= 'text'", isNumber: "IN ('integer', 'real')", isTrue: "= 'true'", isFalse: "= 'false'", isNull: "= 'null'"}
	return "json_type(attributes, " + sqlitePath(p) + ") " + is[k]
}

func (sqliteWords) there(p tree.Path) string {
	return "json_type(attributes, " + sqlitePath(p) + ") IS NOT NULL"
}

func (w sqliteWords) value(p tree.Path, k kind) string {
	value := w.extract(p)
	if k == isNumber {
		value = "CAST(" + value + " AS REAL)"
	}
	return "CASE WHEN " + w.typed(p, k) + " THEN " + value + " END"
}

func (sqliteWords) arg(kind) string { return "?" }

// indexed goes a step further than the comparison where a number is so large that
// integers near it become it when they are made floating point.
func (w sqliteWords) indexed(c *condition, p tree.Path, x comparison) {
	e := w.extract(p)
	if x.kind == isText {
		c.write("%s %s ?", e, x.op)
		c.args = append(c.args, x.text)
		if x.op[0] == '<' {
			c.write(" AND %s >= ''", e)
		}
		return
	}
	down, up := math.Nextafter(x.number, math.Inf(-1)), math.Nextafter(x.number, math.Inf(1))
	switch {
	case x.op == "=" && !w.near(x):
		c.write("%s = ?", e)
		c.args = append(c.args, x.number)
	case x.op == "=":
		c.write("%s > ? AND %s < ?", e, e)
		c.args = append(c.args, down, up)
	case x.op[0] == '>':
		c.write("%s > ? AND %s < ''", e, e)
		c.args = append(c.args, down)
	default:
		c.write("%s < ?", e)
		c.args = append(c.args, up)
	}
}

func (w sqliteWords) indexedIn(c *condition, p tree.Path, values []comparison) {
	c.write("%s IN (", w.extract(p))
	c.values(w, values)
	c.write(")")
}

// near tells numbers that have integers near them which are not the same.
func (sqliteWords) singly() string { return "" } // it never is one

func (sqliteWords) near(x comparison) bool { return x.kind == isNumber && math.Abs(x.number) >= 1<<53 }

func (w sqliteWords) indexes(p tree.Path, name string) map[string]string {
	return map[string]string{name: "CREATE INDEX IF NOT EXISTS " + name + " ON person (" + w.extract(p) + ") WHERE attributes IS NOT NULL"}
}

// postgresWords are those of PostgreSQL. It has an index of texts and one of numbers:
// an expression has one type there. Texts are cut, since entries of indexes are
// bounded; who has the same beginning is looked at.
type postgresWords struct{}

// indexedText is how many characters of a text are in an index.
const indexedText = 200

// constant is a text as a constant. A question mark would be taken for the place of
// an argument.
func constant(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, `?`, `\077`).Replace(text) + "'"
}

// get is the value at a place; as is -> for JSON, ->> for text.
func (postgresWords) get(p tree.Path, as string) string {
	var b strings.Builder
	b.WriteString("(attributes")
	for i, name := range p {
		arrow := "->"
		if i == len(p)-1 {
			arrow = as
		}
		b.WriteString(" " + arrow + " " + constant(name))
	}
	return b.String() + ")"
}

func (w postgresWords) typed(p tree.Path, k kind) string {
	is := [...]string{isText: "string", isNumber: "number", isTrue: "boolean", isFalse: "boolean", isNull: "null"}
	typed := "jsonb_typeof(" + w.get(p, "->") + ") = '" + is[k] + "'"
	if k == isTrue || k == isFalse {
		typed += " AND " + w.get(p, "->>") + " = '" + strconv.FormatBool(k == isTrue) + "'"
	}
	return typed
}

func (w postgresWords) there(p tree.Path) string { return w.get(p, "->") + " IS NOT NULL" }

// value does not say of what type a place is in a condition of its own: that would be
// enough for an index of all that have this type to be gone through.
func (w postgresWords) value(p tree.Path, k kind) string {
	if k == isText {
		return "CASE WHEN " + w.typed(p, isText) + " THEN " + w.get(p, "->>") + ` COLLATE "C" END`
	}
	return "(0 + " + w.number(p) + ")"
}

// number asks for the type once more: it cannot be relied on that the condition which
// comes first is looked at first.
func (w postgresWords) number(p tree.Path) string {
	return "CASE WHEN " + w.typed(p, isNumber) + " THEN CAST(" + w.get(p, "->>") + " AS float8) END"
}

func (postgresWords) arg(k kind) string {
	if k == isText {
		return "CAST(? AS text)"
	}
	return "CAST(? AS float8)"
}

func (postgresWords) near(comparison) bool { return false }

func (postgresWords) singly() string { return " OFFSET 0" }

// start is the part of a text that is in an index.
func (w postgresWords) start(p tree.Path) string {
	return fmt.Sprintf(`"left"(%s, %d) COLLATE "C"`, w.get(p, "->>"), indexedText)
}

func (w postgresWords) indexed(c *condition, p tree.Path, x comparison) {
	if x.kind == isNumber {
		c.write("%s AND %s %s CAST(? AS float8)", w.typed(p, isNumber), w.number(p), x.op)
		c.args = append(c.args, x.number)
		return
	}
	op := x.op
	if op == "<" || op == ">" {
		op += "=" // what begins alike may be on either side
	}
	c.write("%s AND %s %s CAST(? AS text)", w.typed(p, isText), w.start(p), op)
	c.args = append(c.args, beginning(x.text))
}

func (w postgresWords) indexedIn(c *condition, p tree.Path, values []comparison) {
	k := values[0].kind
	expression := w.number(p)
	if k == isText {
		expression = w.start(p)
	}
	c.write("%s AND %s IN (", w.typed(p, k), expression)
	for i, x := range values {
		if i > 0 {
			c.write(", ")
		}
		x.text = beginning(x.text)
		c.write("%s", w.arg(k))
		c.value(x)
	}
	c.write(")")
}

// beginning is the part of a text that an index has.
func beginning(text string) string {
	n := 0
	for i := range text {
		if n++; n > indexedText {
			return text[:i]
		}
	}
	return text
}

func (w postgresWords) indexes(p tree.Path, name string) map[string]string {
	create := func(name, expression string, k kind) string {
		return "CREATE INDEX CONCURRENTLY " + name + " ON person ((" + expression + ")) WHERE " + w.typed(p, k)
	}
	return map[string]string{
		name + "_text":   create(name+"_text", w.start(p), isText),
		name + "_number": create(name+"_number", w.number(p), isNumber),
	}
}
