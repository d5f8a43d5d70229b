package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/fault"
)

// requestTimeout bounds one request to the HTTP API.
const requestTimeout = 30 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// server is the running server that a command talks to.
type server struct {
	base  string
	key   string
	token string
	user  string
}

// addURL, addKey and addWho add the flags; complete then fills in what the
// environment says.
func (s *server) addURL(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.base, "url", "", "`URL` of the server (default http://127.0.0.1:8000; environment: SKEIN_URL)")
}

func (s *server) addKey(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.key, "key", "", "`KEY` of the HTTP API (environment: SKEIN_KEY)")
}

func (s *server) addWho(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.token, "token", "", "`TOKEN` to connect with (environment: SKEIN_TOKEN)")
	cmd.Flags().StringVar(&s.user, "user", "", "`ID` of the user to be; only a server in development mode believes it")
}

func (s *server) complete(cmd *cobra.Command, sh Shell) error {
	for _, f := range []struct {
		name, variable, fallback string
		value                    *string
	}{{"url", "SKEIN_URL", "http://127.0.0.1:8000", &s.base}, {"key", "SKEIN_KEY", "", &s.key}, {"token", "SKEIN_TOKEN", "", &s.token}} {
		if *f.value == "" && cmd.Flags().Lookup(f.name) != nil {
			if *f.value = sh.getenv(f.variable); *f.value == "" {
				*f.value = f.fallback
			}
		}
	}
	if s.user != "" && cmd.Flags().Changed("token") {
		return usagef("--token and --user do not go together; a token has a user in it")
	}
	if s.user != "" {
		s.token = ""
	}
	u, err := url.Parse(s.base)
	if err == nil {
		u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("%q is not the URL of a server; write http://host:port", s.base)
	}
	u.RawQuery, u.Fragment = "", ""
	s.base = strings.TrimSuffix(u.String(), "/")
	return nil
}

// post calls a verb of the HTTP API and gives the result.
func (s *server) post(ctx context.Context, verb string, params []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/api/v1/"+url.PathEscape(verb), bytes.NewReader(params))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, s.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, s.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, s.problem(resp, body)
	}
	return bytes.TrimSpace(body), nil
}

// problem makes an error of an answer that is not 200 (RFC 9457).
func (s *server) problem(resp *http.Response, body []byte) error {
	var p struct {
		Code       fault.Code `json:"code"`
		Detail     string     `json:"detail"`
		RetryAfter int64      `json:"retry_after"`
	}
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		return fmt.Errorf("%s answered %s; is it a skein server?", s.base, resp.Status)
	}
	e := &fault.Error{Code: p.Code, Message: p.Detail, RetryAfter: time.Duration(p.RetryAfter) * time.Millisecond}
	if e.Code == fault.Unauthorized && s.key == "" {
		e.Message += "; give a key with --key or SKEIN_KEY (a server in development mode takes the key dev)"
	}
	return e
}

// unreachable says that there is no answer, without the noise of url.Error.
func (s *server) unreachable(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if e := (*net.OpError)(nil); errors.As(err, &e) && e.Op == "dial" {
		return fmt.Errorf("cannot reach %s: %w; is the server running?", s.base, e.Err)
	}
	return fmt.Errorf("no answer from %s: %w", s.base, err)
}

// input gives an argument, or all of standard input for "-".
func (s Shell) input(arg string) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	text, err := io.ReadAll(io.LimitReader(s.Stdin, maxAnswer))
	return bytes.TrimSuffix(text, []byte("\n")), err
}

// message gives the sentence of an error, without the code of a fault.
func message(err error) string {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}
