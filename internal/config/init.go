package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/skein-realtime/skein"
)

// Init writes a configuration file with every setting at its default, what it
// means next to it, and two namespaces to begin with.
func Init() []byte {
	var b bytes.Buffer
	b.WriteString(`# Configuration of skein.
#
# Everything here except the namespaces is the default and may be left out.
# A variable of the environment wins over this file: SKEIN_AUTH_TIMEOUT for
# auth.timeout, and so on. "skein config check FILE" finds mistakes, "skein
# config explain" shows each value in force and where it came from.
`)
	cfg := skein.DefaultConfig()
	root := settings()
	for _, s := range root.fields {
		b.WriteByte('\n')
		writeSetting(&b, s, s.of(reflect.ValueOf(cfg)), "")
	}
	return b.Bytes()
}

// example is an element of a table in the written file.
type example struct {
	name, doc string
	rules     any
}

// examples are the elements of a table in the written file.
func examples(path string) []example {
	if path == "socketio.namespaces" {
		return []example{{`"/"`, "its rooms are the channels event:…", skein.SocketIONamespace{Channel: "event:all", Rooms: "event"}}}
	}
	if path == "categories" {
		return []example{
			{"orders", "what the user waits for", skein.Category{Bypass: true}},
			{"promo", "what the user does not", skein.Category{Caps: []string{"2 per day", "5 per week"}, Quiet: "21:00-09:00", TTL: skein.Duration(72 * time.Hour)}},
		}
	}
	return []example{
		{"tick", "the server speaks, everybody may listen", skein.Namespace{Kind: "event", Subscribe: "anyone", Publish: "server"}},
		{"event", "users speak to each other and see who is there", skein.Namespace{Kind: "event", Subscribe: "user", Publish: "user", Presence: "members"}},
	}
}

func writeSetting(b *bytes.Buffer, s *setting, v reflect.Value, indent string) {
	fmt.Fprintf(b, "%s# %s\n", indent, s.describe())
	switch s.shape {
	case section:
		fmt.Fprintf(b, "%s%s:\n", indent, s.name)
		writeSection(b, s, v, indent+"  ")
	case table:
		writeElement(b, s.elem, indent, "")
		fmt.Fprintf(b, "%s%s:\n", indent, s.name)
		for _, e := range examples(s.path) {
			fmt.Fprintf(b, "%s  # %s\n%s  %s: %s\n", indent, e.doc, indent, e.name, flow(s.elem, reflect.ValueOf(e.rules)))
		}
	case list:
		writeElement(b, s.elem, indent, "")
		fmt.Fprintf(b, "%s%s: []\n", indent, s.name)
	default:
		fmt.Fprintf(b, "%s%s: %s\n", indent, s.name, value{setting: s, v: v}.text())
	}
}

// writeSection writes plain values with their comments beside them in one
// column, and everything else below its comment.
func writeSection(b *bytes.Buffer, s *setting, v reflect.Value, indent string) {
	lines := map[*setting]string{}
	width := 0
	for _, f := range s.fields {
		if f.shape >= words {
			lines[f] = indent + f.name + ": " + value{setting: f, v: f.of(v)}.text()
			width = max(width, len(lines[f]))
		}
	}
	for _, f := range s.fields {
		if line, plain := lines[f]; plain {
			fmt.Fprintf(b, "%-*s  # %s\n", width, line, f.describe())
			continue
		}
		writeSetting(b, f, f.of(v), indent)
	}
}

// writeElement writes the keys of an element as a comment, those of its sections below them.
func writeElement(b *bytes.Buffer, elem *setting, indent, below string) {
	for _, f := range elem.fields {
		fmt.Fprintf(b, "%s#   %s%-12s %s\n", indent, below, f.name+":", f.describe())
		if f.shape == section {
			writeElement(b, f, indent, below+"  ")
		}
	}
}

// flow writes a section on one line, without what is empty.
func flow(s *setting, v reflect.Value) string {
	var parts []string
	for _, f := range s.fields {
		if field := f.of(v); !field.IsZero() {
			parts = append(parts, f.name+": "+value{setting: f, v: field}.text())
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
