package webhook

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// vectors are those of spec/vectors/hooks.json.
type vectors struct {
	Requests []struct {
		Name, Timestamp, Body, Signature string
		Secrets                          []string
	}
	Answers []struct {
		Name, Delivery, Body, Signature string
		Secrets                         []string
	}
	Receive []struct {
		Name, Secret, Timestamp, Body, Signature string
		Now                                      int64
		Accept                                   bool
	}
}

func TestSignatureVectors(t *testing.T) {
	text, err := os.ReadFile("../../../spec/vectors/hooks.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	parse(t, string(text), &v)
	if len(v.Requests) < 5 || len(v.Answers) < 3 || len(v.Receive) < 10 {
		t.Fatalf("%d requests, %d answers, %d to receive: there are more", len(v.Requests), len(v.Answers), len(v.Receive))
	}
	for _, r := range v.Requests {
		if got := signature(r.Secrets, r.Timestamp, []byte(r.Body)); got != r.Signature {
			t.Errorf("%s: the signature is %s, want %s", r.Name, got, r.Signature)
		}
	}
	for _, a := range v.Answers {
		if got := signature(a.Secrets, a.Delivery, []byte(a.Body)); got != a.Signature {
			t.Errorf("%s: the signature is %s, want %s", a.Name, got, a.Signature)
		}
		for _, s := range a.Secrets {
			if !signed([]string{a.Signature}, []string{s}, a.Delivery, []byte(a.Body)) {
				t.Errorf("%s: not accepted with %q", a.Name, s)
			}
		}
		if signed([]string{a.Signature}, []string{"another secret"}, a.Delivery, []byte(a.Body)) {
			t.Errorf("%s: accepted with another secret", a.Name)
		}
	}
	// The clock is the receiver's business; the signatures of these are checked here, too.
	for _, r := range v.Receive {
		if r.Accept && !signed([]string{r.Signature}, []string{r.Secret}, r.Timestamp, []byte(r.Body)) {
			t.Errorf("%s: not accepted", r.Name)
		}
	}
}

// The examples of the contract are JSON, and begin as this package makes them.
func TestTheContractsExamplesAreJSON(t *testing.T) {
	text, err := os.ReadFile("../../../spec/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```json\n")[1:]
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		var e struct {
			Event  string
			ID     string
			Time   int64
			Events []event
		}
		parse(t, block, &e)
		for _, one := range append(e.Events, event{Event: e.Event, ID: e.ID, Time: e.Time}) {
			if one.Event == "" {
				continue // an answer
			}
			if at := place(one.Event); at < 0 || len(one.ID) != 26 || one.Time == 0 || (at >= asked) != (len(e.Events) > 0) {
				t.Errorf("%+v is no event as it is sent", one)
			}
		}
	}
	if len(blocks) < 8 {
		t.Errorf("%d examples: there are more", len(blocks))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "1.5": 0, "99999999": 24 * time.Hour, "99999999999999999999": 0,
		"Thu, 05 Nov 2026 12:00:30 GMT": 30 * time.Second, "Thu, 05 Nov 2026 11:00:00 GMT": 0, "Thu, 05 Nov 2099 12:00:00 GMT": 24 * time.Hour,
		"tomorrow": 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{"", "{}", ` {"a":1} `, "[]", "null", `{"a":`, `{"a":1,"a":2}`, "{\"\xff\":1}", "\ufeff{}", nested(64), nested(65)} {
		f.Add("application/json", body)
	}
	f.Add("application/vnd.x+json; charset=utf-8", "{}")
	f.Add("text/html", "<html>")
	f.Add(";", "{}")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		got, err := object(contentType, []byte(body))
		if err != nil {
			if got != nil || len(err.Error()) > 1600+4*len(contentType) {
				t.Errorf("%q with a long error: %v", got, err)
			}
			return
		}
		if !json.Valid(got) || got[0] != '{' || got[len(got)-1] != '}' || protocol.Valid(got, maxDepth) != nil {
			t.Errorf("%q is taken for an object", got)
		}
		if strings.Trim(body, " \t\r\n") != "" && !strings.Contains(body, string(got)) {
			t.Errorf("%q became %q", body, got)
		}
		again, err := object("application/json", got)
		if err != nil || string(again) != string(got) {
			t.Errorf("%q reads back as %q, %v", got, again, err)
		}
	})
}

func FuzzSignatureOfAnAnswer(f *testing.F) {
	f.Add("v1=00", "")
	f.Add("v1=,v1=,,=,v2=x", "{}")
	f.Add(strings.Repeat("v1=00,", 1000), "{}")
	f.Fuzz(func(t *testing.T, value, body string) {
		secrets := []string{secret, newer}
		if signed([]string{value}, secrets, "d", []byte(body)) {
			t.Errorf("%q is taken for a signature", value)
		}
		good := signature(secrets[1:], "d", []byte(body))
		if !signed([]string{good + "," + value}, secrets, "d", []byte(body)) || !signed([]string{good, value}, secrets, "d", []byte(body)) {
			t.Errorf("next to %q a good signature is not seen", value)
		}
		if signed(http.Header{}["Skein-Signature"], secrets, "d", []byte(body)) {
			t.Error("no header is taken for a signature")
		}
	})
}
