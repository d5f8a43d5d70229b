package cli

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/protocol"
)

// publishFlags are the flags of `skein pub`.
type publishFlags struct {
	server server
	event  string
	text   bool
}

func publish(sh Shell) *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "pub CHANNEL DATA",
		Short: "Send a message to a channel",
		Example: `  skein pub room:7 '{"text":"hello"}'
  skein pub room:7 --text hello --event greeting
  date | skein pub tick:time --text -
  skein pub room:7 '{"text":"hi"}' --token "$TOKEN"     as a client, not as the server`,
		Long: `Sends DATA, which is JSON or with --text a text, to a channel; "-" reads it from
standard input. With a key it goes through the HTTP API; with --token or --user
over WebSocket, as that client. Prints what became of it as JSON.`,
		Args: arguments("CHANNEL", "DATA"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.server.complete(cmd, sh); err != nil {
				return err
			}
			data, err := f.data(sh, args[1])
			if err != nil {
				return err
			}
			asClient := f.server.user != "" || cmd.Flags().Changed("token") || f.server.token != "" && f.server.key == ""
			result, err := f.publish(cmd.Context(), asClient, args[0], data)
			if err != nil {
				return err
			}
			return sh.print(result)
		},
	}
	cmd.Flags().StringVar(&f.event, "event", "", "`NAME` of the event (default message)")
	cmd.Flags().BoolVar(&f.text, "text", false, "DATA is a text, not JSON")
	f.server.addURL(cmd)
	f.server.addKey(cmd)
	f.server.addWho(cmd)
	return cmd
}

// data reads DATA as JSON.
func (f *publishFlags) data(sh Shell, arg string) (json.RawMessage, error) {
	data, err := sh.input(arg)
	if err != nil {
		return nil, err
	}
	if f.text {
		return json.Marshal(string(data))
	}
	if !json.Valid(data) {
		return nil, usagef("DATA is not JSON; write '{\"text\":\"hello\"}', or --text for a text")
	}
	return data, nil
}

func (f *publishFlags) publish(ctx context.Context, asClient bool, channel string, data json.RawMessage) ([]byte, error) {
	type target struct {
		Channel string `json:"channel"`
	}
	if !asClient {
		params, err := json.Marshal(struct {
			To    target          `json:"to"`
			Event string          `json:"event,omitempty"`
			Data  json.RawMessage `json:"data"`
		}{target{channel}, f.event, data})
		if err != nil {
			return nil, err
		}
		return f.server.post(ctx, "publish", params)
	}
	k, err := f.server.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer k.leave()
	return k.ask(ctx, struct {
		Type    string          `json:"type"`
		ID      string          `json:"id"`
		Channel string          `json:"channel"`
		Event   string          `json:"event,omitempty"`
		Data    json.RawMessage `json:"data"`
	}{protocol.TypePub, "1", channel, f.event, data})
}

// ask sends a frame with the id "1" and waits for the reply to it, which it
// gives without type and id.
func (k *socket) ask(ctx context.Context, question any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := k.send(ctx, question); err != nil {
		return nil, err
	}
	for {
		f, err := k.read(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return nil, errors.New("no reply from the server")
		case err != nil:
			return nil, err
		case f.ID != "1":
			continue
		case f.Type == protocol.TypeError:
			return nil, f.err()
		}
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(f.raw, &fields); err != nil {
			return nil, err
		}
		delete(fields, "type")
		delete(fields, "id")
		return json.Marshal(fields)
	}
}
