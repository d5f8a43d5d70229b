// Command auth lets an existing web server decide who is who: people log in with a
// form and get a session cookie, and the connections of their pages are theirs.
//
//	go run ./examples/auth
//
// Behind TLS give -secure, so that the cookie travels encrypted only.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/skein-realtime/skein"
)

//go:embed page.html
var page []byte

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "`address` to listen on")
	secure := flag.Bool("secure", false, "the cookie is for https alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *secure); err != nil {
		fmt.Fprintln(os.Stderr, "auth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string, secure bool) error {
	a, err := newSite(secure)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Printf("http://%s/\n", listen)
	if err = server.ListenAndServe(); errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, a.Close())
}

// site is a web server with accounts of its own.
type site struct {
	*skein.Server
	secure    bool
	passwords map[string]string // a database would keep slow hashes
	sessions  sync.Map          // the cookie's value to a login
}

// login is one browser in which somebody has logged in.
type login struct{ user, device string }

const cookieName = "sid"

func newSite(secure bool) (*site, error) {
	s, err := skein.New(skein.Config{Namespaces: map[string]skein.Namespace{
		"news":    {Subscribe: "user"},                    // what everybody may read, and the server writes
		"staff":   {Subscribe: "token", Publish: "token"}, // who has the right, by caps
		"private": {Subscribe: "token"},                   // whom OnSubscribe lets in
		"room":    {Subscribe: "user", Publish: "user", Presence: "members"},
	}})
	if err != nil {
		return nil, err
	}
	a := &site{Server: s, secure: secure, passwords: map[string]string{"ann": "ann's", "bob": "bob's", "root": "root's"}}
	s.OnConnect(a.connect)
	s.OnSubscribe("private", func(_ context.Context, sub *skein.Subscribing) error {
		sub.Allow = sub.Channel == "private:"+sub.Conn.User()
		return nil
	})
	return a, nil
}

// connect says who a connection is by the cookie that came with its first request.
// Pages of other sites cannot use it: Skein lets in origins of its own host alone.
func (a *site) connect(_ context.Context, c *skein.Connecting) error {
	l, ok := a.login(&http.Request{Header: c.Header})
	if !ok {
		return skein.NewError("unauthorized", "log in first")
	}
	c.User, c.Device = l.user, l.device
	c.Channels = []string{"news:all"}
	if l.user == "root" { // what the rules do not give
		c.Caps = map[string][]string{"staff:*": {"sub", "pub"}}
	}
	c.Session, _ = json.Marshal(map[string]string{"name": l.user})
	return nil
}

// login finds who a request is from.
func (a *site) login(r *http.Request) (l login, ok bool) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if found, known := a.sessions.Load(cookie.Value); known {
			return found.(login), true
		}
	}
	return l, false
}

// handler is the site's own, with Skein at /ws.
func (a *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", a.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := r.PostFormValue("user")
		password, known := a.passwords[user]
		if !known || subtle.ConstantTimeCompare([]byte(password), []byte(r.PostFormValue("password"))) == 0 {
			http.Error(w, "wrong name or password", http.StatusForbidden)
			return
		}
		sid := rand.Text()
		a.sessions.Store(sid, login{user, rand.Text()})
		a.setCookie(w, sid, 0)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if l, ok := a.login(r); ok {
			cookie, _ := r.Cookie(cookieName)
			a.sessions.Delete(cookie.Value)
			// The tabs of this browser; those on other devices stay.
			_, _ = a.Disconnect(r.Context(), skein.DisconnectParams{User: l.user, Device: l.device, Message: "logged out"})
		}
		a.setCookie(w, "", -1)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

func (a *site) setCookie(w http.ResponseWriter, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode})
}
