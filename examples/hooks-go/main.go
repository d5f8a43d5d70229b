// Command hooks-go is a backend for Skein's hooks that needs nothing but net/http.
// The contract is spec/hooks.md; examples/hooks-flask is the same in Python.
//
//	HOOKS_SECRET=... go run ./examples/hooks-go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5000", "`address` to listen on")
	flag.Parse()
	// The second one is for the time in which one secret takes another's place.
	secrets := slices.DeleteFunc([]string{os.Getenv("HOOKS_SECRET"), os.Getenv("HOOKS_OLD_SECRET")}, func(s string) bool { return s == "" })
	if len(secrets) == 0 {
		fmt.Fprintln(os.Stderr, "hooks-go: HOOKS_SECRET is missing; use the text of hooks.secret")
		os.Exit(2)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /hooks", backend{secrets, os.Stdout})
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(os.Stderr, "listening on http://%s/hooks\n", *listen)
	fmt.Fprintln(os.Stderr, "hooks-go:", server.ListenAndServe())
	os.Exit(1)
}

const badWord = "rhubarb"
const tolerance = 300 // seconds that a request may be old, or ahead of our clock

// user knows the tokens; yours are in a database.
func user(token string) string {
	return map[string]string{"token-of-ana": "ana", "token-of-ben": "ben"}[token]
}

// signature is that of a request (label: its timestamp) or of an answer (label: the delivery).
func signature(secret, label string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(label + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// verified tells whether a request was signed with one of our secrets, and not long ago.
func verified(secrets []string, timestamp string, body []byte, signatures string, now int64) bool {
	at, err := strconv.ParseUint(timestamp, 10, 40)
	if err != nil || max(now-int64(at), int64(at)-now) > tolerance {
		return false
	}
	for part := range strings.SplitSeq(signatures, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(part), "v1=")
		given, err := hex.DecodeString(text)
		if !ok || err != nil {
			continue
		}
		for _, secret := range secrets {
			// It takes the same time wherever the two differ, so nobody can guess a
			// signature byte by byte.
			if hmac.Equal(given, signature(secret, timestamp, body)) {
				return true
			}
		}
	}
	return false
}

// hook is what all events have, and what single ones do.
type hook struct {
	Event      string
	User       string
	Token      string
	Channel    string
	Connection struct{ ID, User string }
	Headers    map[string]string
	Message    struct{ Data json.RawMessage }
	Method     string
	Data       json.RawMessage
	Events     []hook // told ones
}

type object = map[string]any

// backend answers hooks, and prints to out what it is told.
type backend struct {
	secrets []string
	out     io.Writer
}

// ServeHTTP implements http.Handler.
func (b backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	h := r.Header
	if err != nil || !verified(b.secrets, h.Get("Skein-Timestamp"), body, h.Get("Skein-Signature"), time.Now().Unix()) {
		http.Error(w, "wrong signature or old timestamp", http.StatusUnauthorized)
		return
	}
	var asked hook
	if err := json.Unmarshal(body, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, e := range asked.Events { // told, and nobody waits for an answer
		fmt.Fprintln(b.out, e.Event, e.User+e.Channel+e.Connection.ID)
	}
	text, err := json.Marshal(answer(&asked))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// Only needed with hooks.verify_answers.
	w.Header().Set("Skein-Signature", "v1="+hex.EncodeToString(signature(b.secrets[0], h.Get("Skein-Delivery"), text)))
	_, _ = w.Write(text)
}

func answer(h *hook) object {
	switch h.Event {
	case "connect":
		return connect(h)
	case "subscribe":
		if owner, ok := strings.CutPrefix(h.Channel, "room:of-"); ok && owner != h.Connection.User {
			return refuse("denied", "this is somebody else's room")
		}
	case "message":
		return message(h)
	case "call":
		return call(h)
	}
	return object{} // as the rules say; events of a later version, too
}

func refuse(code, message string) object {
	return object{"refuse": object{"code": code, "message": message}}
}

// connect says who it is: a cookie does (hooks.headers: [cookie]), its token, or data.token.
func connect(h *hook) object {
	data := struct{ Token string }{h.Token}
	if data.Token == "" && (json.Unmarshal(h.Data, &data) != nil || data.Token == "") {
		r := http.Request{Header: http.Header{"Cookie": {h.Headers["cookie"]}}}
		if cookie, err := r.Cookie("token"); err == nil {
			data.Token = cookie.Value
		}
	}
	name := user(data.Token)
	if name == "" {
		return refuse("unauthorized", "please sign in")
	}
	return object{
		"user":    name,
		"session": object{"name": strings.ToUpper(name[:1]) + name[1:]},
		"caps":    object{"room:of-" + name: []string{"sub", "pub"}},
	}
}

func message(h *hook) object {
	var data object
	if json.Unmarshal(h.Message.Data, &data) != nil {
		return object{}
	}
	text, _ := data["text"].(string)
	shout, loud := strings.CutPrefix(text, "/shout ")
	switch {
	case strings.Contains(strings.ToLower(text), badWord):
		return refuse("denied", "mind your language")
	case text == "time?":
		return object{"reply": object{"time": time.Now().UTC().Format(time.TimeOnly)}}
	case loud:
		data["text"] = strings.ToUpper(shout)
		return object{"data": data}
	}
	return object{}
}

func call(h *hook) object {
	if h.Method != "add" {
		return object{"error": object{"code": "not_found", "message": "there is no such method"}}
	}
	var numbers []float64
	if err := json.Unmarshal(h.Data, &numbers); err != nil || numbers == nil {
		return object{"error": object{"code": "bad_request", "message": "data: must be a list of numbers"}}
	}
	sum := 0.0
	for _, n := range numbers {
		sum += n
	}
	return object{"data": sum}
}
