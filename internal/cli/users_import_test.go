package cli

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readUsers gives what a file has: an entry or the error of a line, each as text.
func readUsers(t *testing.T, name, text string, strings bool) (list []string) {
	t.Helper()
	file, err := (&importFlags{strings: strings}).reader(readerOf(text), name)
	if err != nil {
		return []string{err.Error()}
	}
	for range 100 {
		u, read, err := file.next()
		switch bad := (*badLine)(nil); {
		case errors.Is(err, io.EOF):
			if read != int64(len(text)) {
				t.Errorf("%q: %d of %d bytes were read", text, read, len(text))
			}
			return list
		case errors.As(err, &bad):
			list = append(list, bad.Error())
		case err != nil:
			return append(list, "end: "+err.Error())
		default:
			list = append(list, u.ID+" "+string(u.Attributes))
		}
	}
	t.Fatalf("%q does not end", text)
	return nil
}

func readerOf(text string) io.Reader { return strings.NewReader(text) }

func TestUsersOfAFile(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, tt := range map[string]struct {
		file, text string
		strings    bool
		want       []string
	}{
		"csv":                    {"a.csv", "id,n\n1,5\n2,x\n", false, []string{`1 {"n":5}`, `2 {"n":"x"}`}},
		"csv, all texts":         {"a.csv", "id,n,b\n1,5,true\n", true, []string{`1 {"b":"true","n":"5"}`}},
		"csv, ends with a line":  {"a.csv", "n,id\r\n5,1", false, []string{`1 {"n":5}`}},
		"csv, a byte order mark": {"a.csv", "\xef\xbb\xbfid,n\n1,5\n", false, []string{`1 {"n":5}`}},
		"csv, what is a number": {"a.csv", "id,a,b,c,d,e,f,g\n1,-0.5e3,007,1.,+1,12345678901234567890,-,null\n", false,
			[]string{`1 {"a":-0.5e3,"b":"007","c":"1.","d":"+1","e":12345678901234567890,"f":"-","g":"null"}`}},
		"csv, tags":            {"a.csv", "id,tags\n1,a|b\n2,7\n3,\n", false, []string{`1 {"tags":["a","b"]}`, `2 {"tags":["7"]}`, `3 {}`}},
		"csv, a cell of lines": {"a.csv", "id,a\n1,\"x\ny\"\n,2\n", false, []string{`1 {"a":"x\ny"}`, "line 4: id: is missing"}},
		"csv, wrong lines":     {"a.csv", "id,a\n1\n2,b\"c\n3,\"d\"e\n4,x\n", false, []string{"line 2: wrong number of fields", `line 3: bare " in non-quoted-field`, `line 4: extraneous or missing " in quoted-field`, `4 {"a":"x"}`}},
		"csv, no name":         {"a.csv", "id,,a\n", false, []string{"line 1: column 2 has no name"}},
		"csv, nothing":         {"a.csv", "", false, []string{"line 1: the header is missing; name the columns, such as id,city,tags"}},
		"csv, by its look":     {"-", "id,a\n1,2\n", false, []string{`1 {"a":2}`}},
		"lines":                {"a.jsonl", `{"id":"1","attributes":{"n":1.50}}`, false, []string{`1 {"n":1.50}`}},
		"lines, by their look": {"-", "\n \r\n{\"id\":\"1\",\"attributes\":{}}\r\n", false, []string{`1 {}`}},
		"lines, wrong": {"a.jsonl", "[]\n{\"id\":\"1\"}\n{\"id\":\"1\",\"attributes\":null}\n{\"id\":\"2\",\"attributes\":{}} x\n{\"id\":\"3\",\"attributes\":{}}\n", false, []string{
			"line 1: is not a JSON object",
			"line 2: attributes: must be a JSON object", "line 3: attributes: must be a JSON object",
			"line 4: is not a JSON object: invalid character 'x' after top-level value", `3 {}`,
		}},
		"lines, a long one": {"a.jsonl", "{\"id\":\"1\",\"attributes\":{}}\n" + long + "\n", false, []string{`1 {}`, "end: line 2: has more than 1048576 bytes"}},
	} {
		if diff := cmp.Diff(tt.want, readUsers(t, tt.file, tt.text, tt.strings)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A server that is busy is asked again; one that is broken is not.
func TestAnImportWaitsForABusyServer(t *testing.T) {
	answers := []string{
		`429 {"code":"rate_limited","detail":"too often","retry_after":1}`, `503 {"code":"unavailable","detail":"not now"}`,
		`200 {"created":1,"changed":0}`, `500 {"code":"internal","detail":"internal error"}`,
	}
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, body, _ := strings.Cut(answers[asked], " ")
		asked++
		w.WriteHeader(map[string]int{"429": 429, "503": 503, "200": 200, "500": 500}[status])
		_, _ = io.WriteString(w, body)
	}))
	defer s.Close()
	code, stdout, stderr := run(nil, "id,a\n1,1\n2,2\n", "users", "import", "-", "--batch", "1", "--url", s.URL, "--json")
	if code != 1 || stdout != `{"users":1,"created":1,"changed":0,"bad":0}`+"\n" || stderr != "skein: internal: internal error\n" || asked != len(answers) {
		t.Errorf("code %d after %d requests\n%s%s", code, asked, stdout, stderr)
	}
}

func TestTheLineOfACampaign(t *testing.T) {
	audience := int64(2000)
	c := &shownCampaign{State: "running", Audience: &audience, Progress: 500, Counts: map[string]int64{"queued": 300, "delivered": 200, "read": 7}}
	var out strings.Builder
	bar := liveLine{w: &out, bar: true}
	bar.show(c)
	c.Error = "nothing can\x1b be stored"
	c.Progress, c.Counts = 9999, nil
	bar.show(c)
	bar.clear()
	bar.clear()
	drawn := strings.Split(out.String(), "\r")[1:]
	const first, second = "running [######..................] 25% 500/2000  queued 300, delivered 200, rea", "running [########################] 100% 2000/2000  nothing can\ufffd be stored"
	if len(drawn) != 4 || drawn[0] != first || strings.TrimRight(drawn[1], " ") != second || strings.TrimSpace(drawn[2]) != "" || drawn[3] != "" {
		t.Errorf("got %q", drawn)
	}
	out.Reset()
	plain := liveLine{w: &out}
	plain.show(c)
	plain.show(c) // too soon
	plain.clear()
	if got, want := out.String(), "running 100% 2000/2000  nothing can\ufffd be stored\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
