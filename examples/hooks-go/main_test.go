package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/edge/webhook"
)

const (
	secret   = "a secret that is only for tests, 1"
	delivery = "01KC3V7Q8R2M9X4T6B0N5W1ZEH"
)

func TestSignatureVectors(t *testing.T) {
	text, err := os.ReadFile("../../spec/vectors/hooks.json")
	if err != nil {
		t.Fatal(err)
	}
	type signed struct {
		Name, Timestamp, Delivery, Body, Signature string
		Secrets                                    []string
	}
	var v struct {
		Requests, Answers []signed
		Receive           []struct {
			Name, Secret, Timestamp, Body, Signature string
			Now                                      int64
			Accept                                   bool
		}
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	all := append(v.Requests, v.Answers...)
	if len(v.Requests) < 5 || len(v.Answers) < 3 || len(v.Receive) < 10 {
		t.Fatalf("%d requests, %d answers, %d to receive: there are more", len(v.Requests), len(v.Answers), len(v.Receive))
	}
	for _, s := range all {
		var got []string
		for _, secret := range s.Secrets {
			got = append(got, "v1="+hex.EncodeToString(signature(secret, s.Timestamp+s.Delivery, []byte(s.Body))))
		}
		if strings.Join(got, ",") != s.Signature {
			t.Errorf("%s: the signature is %s, want %s", s.Name, got, s.Signature)
		}
	}
	for _, r := range v.Receive {
		if got := verified([]string{"another one", r.Secret}, r.Timestamp, []byte(r.Body), r.Signature, r.Now); got != r.Accept {
			t.Errorf("%s: accepted is %v", r.Name, got)
		}
	}
}

// post sends a signed body and gives the answer, and what was printed.
func post(t *testing.T, body, by string, age time.Duration) (w *httptest.ResponseRecorder, printed string) {
	t.Helper()
	timestamp := fmt.Sprint(time.Now().Add(-age).Unix())
	r := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body))
	r.Header.Set("Skein-Delivery", delivery)
	r.Header.Set("Skein-Timestamp", timestamp)
	r.Header.Set("Skein-Signature", "v1="+hex.EncodeToString(signature(by, timestamp, []byte(body))))
	w = httptest.NewRecorder()
	var out bytes.Buffer
	backend{[]string{secret}, &out}.ServeHTTP(w, r)
	return w, out.String()
}

func TestOnlySignedRequestsAreAnswered(t *testing.T) {
	for _, tt := range []struct {
		name, body, by string
		age            time.Duration
		status         int
	}{
		{"signed", `{"event":"online"}`, secret, 0, 200},
		{"old", `{}`, secret, 6 * time.Minute, 401},
		{"of the future", `{}`, secret, -6 * time.Minute, 401},
		{"somebody else's", `{}`, "another secret", 0, 401},
		{"too large", strings.Repeat(" ", 1<<20) + `{}`, secret, 0, 401},
		{"not JSON", `{`, secret, 0, 400},
	} {
		if w, _ := post(t, tt.body, tt.by, tt.age); w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, w.Code, tt.status)
		}
	}
}

func TestAnswers(t *testing.T) {
	const (
		ana     = `{"user":"ana","session":{"name":"Ana"},"caps":{"room:of-ana":["sub","pub"]}}`
		unknown = `{"refuse":{"code":"unauthorized","message":"please sign in"}}`
		others  = `{"refuse":{"code":"denied","message":"this is somebody else's room"}}`
		bad     = `{"refuse":{"code":"denied","message":"mind your language"}}`
		numbers = `{"error":{"code":"bad_request","message":"data: must be a list of numbers"}}`
	)
	say := func(data string) string {
		return `{"event":"message","channel":"room:7","message":{"event":"said","data":` + data + `}}`
	}
	for body, want := range map[string]string{
		`{"event":"connect","data":{"token":"token-of-ana"}}`:                ana,
		`{"event":"connect","headers":{"cookie":"a=b; token=token-of-ana"}}`: ana,
		`{"event":"connect","headers":{"cookie":"mytoken=token-of-ana"}}`:    unknown,
		`{"event":"connect"}`:                                                                unknown,
		`{"event":"connect","data":{"token":7}}`:                                             unknown,
		`{"event":"connect","data":"token-of-ana"}`:                                          unknown,
		`{"event":"subscribe","connection":{"id":"x","user":"ana"},"channel":"room:7"}`:      `{}`,
		`{"event":"subscribe","connection":{"id":"x","user":"ana"},"channel":"room:of-ana"}`: `{}`,
		`{"event":"subscribe","connection":{"id":"x","user":"ana"},"channel":"room:of-ben"}`: others,
		`{"event":"subscribe","connection":{"id":"x"},"channel":"room:of-ben"}`:              others,
		say(`{"text":"hello"}`):                                                              `{}`,
		say(`[1]`):                                                                           `{}`,
		say(`{"text":7}`):                                                                    `{}`,
		say(`{"text":"Rhubarb!"}`):                                                           bad,
		say(`{"text":"/shout hello","to":"all"}`):                                            `{"data":{"text":"HELLO","to":"all"}}`,
		`{"event":"call","method":"add","data":[2,3.5]}`:                                     `{"data":5.5}`,
		`{"event":"call","method":"add","data":["2"]}`:                                       numbers,
		`{"event":"call","method":"add"}`:                                                    numbers,
		`{"event":"call","method":"subtract","data":[2]}`:                                    `{"error":{"code":"not_found","message":"there is no such method"}}`,
		`{"event":"of a later version","data":{"any": 1}}`:                                   `{}`,
	} {
		w, _ := post(t, body, secret, 0)
		var got, wanted any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %q: %v", body, w.Body, err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(wanted, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", body, d)
		}
		if s := "v1=" + hex.EncodeToString(signature(secret, delivery, w.Body.Bytes())); w.Header().Get("Skein-Signature") != s {
			t.Errorf("%s: the answer is not signed well", body)
		}
	}
}

func TestTheTimeIsAReply(t *testing.T) {
	w, _ := post(t, `{"event":"message","message":{"data":{"text":"time?"}}}`, secret, 0)
	var got struct{ Reply struct{ Time string } }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.TimeOnly, got.Reply.Time); err != nil {
		t.Errorf("%s: %v", w.Body, err)
	}
}

func TestToldEventsArePrinted(t *testing.T) {
	w, printed := post(t, `{"events":[{"event":"online","user":"ana"},{"event":"vacated","channel":"room:7"},{"event":"close","connection":{"id":"x","user":"ana"}}]}`, secret, 0)
	if want := "online ana\nvacated room:7\nclose x\n"; w.Code != 200 || printed != want {
		t.Errorf("status %d, printed %q, want %q", w.Code, printed, want)
	}
}

// The server's own client, which wants its answers signed, gets along with it.
func TestTheServerGetsAlongWithIt(t *testing.T) {
	var out bytes.Buffer
	s := httptest.NewServer(backend{[]string{secret}, &out})
	defer s.Close()
	c, err := webhook.New(webhook.Config{URL: s.URL, Secrets: []string{secret}, Events: webhook.Events[:], VerifyAnswers: true})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Ask(t.Context(), webhook.Call, []byte(`,"connection":{"id":"x"},"method":"add","data":[2,3]`))
	if err != nil || string(answer) != `{"data":5}` {
		t.Errorf("answer %s, error %v", answer, err)
	}
	c.Tell(webhook.Online, "ana", []byte(`,"user":"ana"`))
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if out.String() != "online ana\n" {
		t.Errorf("printed %q", out.String())
	}
}
