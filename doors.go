package skein

import (
	"context"
	"net/http"

	"github.com/skein-realtime/skein/internal/edge/poll"
	"github.com/skein-realtime/skein/internal/edge/sse"
	"github.com/skein-realtime/skein/internal/edge/stream"
	"github.com/skein-realtime/skein/internal/edge/websocket"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/store"
)

// doors are those that are plain HTTP: server-sent events and long polling.
type doors struct {
	streams *stream.Server
	sse     *sse.Door
	poll    *poll.Door
}

// encodings are those of all doors. A connection names its own by its place here.
func encodings() []hub.Encoding {
	return append(websocket.Encodings(), sse.Encoding(), poll.Encoding())
}

// newDoors makes the doors. Their encodings are the last of [encodings].
func (s *Server) newDoors(cfg Config) *doors {
	streams := stream.New(stream.Config{
		Sessions: s.sessions, Clock: s.links, Admit: s.door.Admit,
		Queue: int(cfg.Limits.Queue), Inbox: max(64<<10, 2*int(cfg.Limits.Message)),
		Heartbeat: cfg.Heartbeat.Interval.Std(), Misses: cfg.Heartbeat.Misses,
		Handshake: cfg.Limits.Handshake.Std(),
		Settings:  streamSettings(cfg),
	})
	n := len(websocket.Encodings())
	return &doors{
		streams: streams,
		sse:     sse.New(sse.Config{Streams: streams, Sessions: s.sessions, Verifier: s.verifier, Remote: s.door.Remote, Encoding: n, Epoch: s.epoch}),
		poll:    poll.New(poll.Config{Streams: streams, Encoding: n + 1}),
	}
}

func streamSettings(cfg Config) stream.Settings {
	return stream.Settings{Origins: cfg.Origins, Message: int64(cfg.Limits.Message), Frames: cfg.Limits.FramesPerSecond, Dev: cfg.Dev}
}

// epoch looks up the epoch of a log channel.
func (s *Server) epoch(ctx context.Context, channel string) (string, error) {
	page, err := s.feeds.History(ctx, store.Query{Channel: channel, Limit: 1})
	return page.Head.Epoch, err
}

// route adds the doors to the table of all doors.
func (d *doors) route(mux *http.ServeMux) {
	mux.HandleFunc("/sse", d.sse.Stream)
	mux.HandleFunc("/sse/{connection}", d.sse.Frames)
	mux.Handle("/poll", d.poll)
}

// count names what is counted at these doors.
func (d *doors) count(set *metrics.Set) {
	for transport, m := range map[string]*stream.Metrics{"sse": d.sse.Metrics(), "poll": d.poll.Metrics()} {
		labels := metrics.Labels{"transport": transport}
		set.Gauge("streams", "Connections that are plain HTTP, welcomed or not.", labels, m.Open.Load)
		set.Counter("streams_opened_total", "Such connections that were accepted.", labels, m.Accepted.Load)
		set.Counter("stream_requests_total", "Requests that belong to such a connection: frames posted, polls.", labels, m.Requests.Load)
		set.Counter("stream_bytes_received_total", "Bytes from clients of such connections.", labels, m.BytesIn.Load)
		set.Counter("stream_bytes_sent_total", "Bytes to clients of such connections.", labels, m.BytesOut.Load)
		set.Counter("stream_messages_dropped_total", "Messages that did not fit into the queue of such a connection.", labels, m.Dropped.Load)
		for i, reason := range stream.Reasons {
			set.Counter("streams_refused_total", "Requests that were refused.", metrics.Labels{"transport": transport, "reason": reason}, m.Refused[i].Load)
		}
		set.Counter("streams_lost_total", "Such connections that the server gave up.", metrics.Labels{"transport": transport, "reason": "heartbeat_lost"}, m.Lost.Load)
		set.Counter("streams_lost_total", "Such connections that the server gave up.", metrics.Labels{"transport": transport, "reason": "too_slow"}, m.Stalled.Load)
	}
}
