package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/protocol"
)

// Waits between two attempts to connect: a random part of a bound that doubles
// (full jitter), so that many clients do not come back at once.
const (
	firstWait   = 500 * time.Millisecond
	longestWait = 30 * time.Second
)

// subscription is one run of `skein sub`.
type subscription struct {
	Shell
	server   server
	channels []string
	presence bool
	once     bool
	count    int // messages to come; 0: no end
}

// errEnough ends a subscription that has printed what it was asked for.
var errEnough = errors.New("enough")

func subscribe(sh Shell) *cobra.Command {
	s := &subscription{Shell: sh}
	cmd := &cobra.Command{
		Use:   "sub CHANNEL…",
		Short: "Listen to channels",
		Example: `  skein sub room:7 | jq .data
  skein sub tick:time room:7 --presence --token "$TOKEN"
  skein sub event:news --user 42 --count 1        as user 42, on a server with --dev`,
		Long: `Prints what arrives, one JSON frame per line, until Ctrl-C. When the connection
is lost it connects again, and says so on standard error.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("CHANNEL is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.server.complete(cmd, sh); err != nil {
				return err
			}
			if s.count < 0 {
				return usagef("--count must not be negative")
			}
			s.channels = args
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return s.run(ctx)
		},
	}
	cmd.Flags().BoolVar(&s.presence, "presence", false, "also tell who joins and leaves")
	cmd.Flags().BoolVar(&s.once, "once", false, "do not connect again; end when the connection does")
	cmd.Flags().IntVar(&s.count, "count", 0, "end after so many messages (default: never)")
	s.server.addURL(cmd)
	s.server.addWho(cmd)
	return cmd
}

// run connects again and again until there is a reason to stop.
func (s *subscription) run(ctx context.Context) error {
	for bound := firstWait; ; bound = min(2*bound, longestWait) {
		welcomed, err := s.listen(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnough):
			return nil
		case s.once || isFinal(err):
			return err
		case welcomed:
			bound = firstWait
		}
		wait := rand.N(bound)
		if l := (*leaving)(nil); errors.As(err, &l) {
			wait = l.after // the server has spread its clients already
		}
		s.talk("%v; connecting again in %s", err, wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// listen is one connection: it subscribes and prints until the connection ends.
func (s *subscription) listen(ctx context.Context) (welcomed bool, err error) {
	k, err := s.server.dial(ctx)
	if err != nil {
		return false, err
	}
	defer k.close()
	who := "nobody in particular"
	if k.welcome.User != "" {
		who = "user " + k.welcome.User
	}
	s.talk("connected to %s as %s", s.server.base, who)
	for _, channel := range s.channels {
		sub := map[string]any{"type": protocol.TypeSub, "id": channel, "channel": channel}
		if s.presence {
			sub["presence"] = true
		}
		if err := k.send(ctx, sub); err != nil {
			return true, err
		}
	}
	for refused := 0; ; {
		f, err := k.read(ctx)
		if err != nil {
			return true, err
		}
		switch f.Type {
		case protocol.TypePing, protocol.TypePong, protocol.TypeWelcome:
		case protocol.TypeOK:
			s.talk("subscribed to %s", f.ID)
		case protocol.TypeError:
			err := fmt.Errorf("%s: %w", f.ID, f.err())
			if refused++; refused == len(s.channels) {
				return true, &final{err}
			}
			s.talk("%v", err)
		default:
			if err := s.show(f); err != nil {
				k.leave()
				return true, err
			}
		}
	}
}

// show prints a frame on one line.
func (s *subscription) show(f frame) error {
	var line bytes.Buffer
	if err := json.Compact(&line, f.raw); err != nil {
		return err
	}
	if err := s.print(line.Bytes()); err != nil {
		return &final{err} // nobody reads any more
	}
	if f.Type != protocol.TypeMsg || s.count == 0 {
		return nil
	}
	if s.count--; s.count == 0 {
		return errEnough
	}
	return nil
}
