package load

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// publisher is one client that publishes, over a WebSocket or the HTTP API.
type publisher struct {
	conn    *conn
	index   uint16
	size    int      // bytes of data
	batch   int      // messages of one request; over a WebSocket always 1
	numbers []uint64 // by channel: how many it has sent; only the pump's
	turn    int      // the channel that is next; only the pump's

	accepted atomic.Int64
	refused  atomic.Int64

	mu      sync.Mutex // guards all below
	waiting []int64    // when the requests without an answer left, oldest first
	answers *hdrhistogram.Histogram
	trouble string
}

// unanswered is how many requests have no answer yet.
func (p *publisher) unanswered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// answered takes the answer to the oldest request.
func (p *publisher) answered(now int64, accepted, refused int, why string) {
	p.accepted.Add(int64(accepted))
	p.refused.Add(int64(refused))
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != "" && p.trouble == "" {
		p.trouble = why
	}
	if len(p.waiting) == 0 {
		return
	}
	record(p.answers, now-p.waiting[0])
	p.waiting = p.waiting[:copy(p.waiting, p.waiting[1:])]
}

// response is answered for the HTTP API.
func (p *publisher) response(now int64, status string, body []byte) {
	if status != "200" {
		p.answered(now, 0, p.batch, "HTTP "+status+" "+string(body))
		return
	}
	refused, why := 0, ""
	if p.batch > 1 {
		if refused = bytes.Count(body, []byte(`{"error":`)); refused > 0 {
			why = string(body[:min(len(body), 300)])
		}
	}
	p.answered(now, p.batch-refused, refused, why)
}

// publish sends the next message or batch.
func (p *publisher) publish(channels []string) {
	s := p.conn.swarm
	now := s.now()
	p.mu.Lock()
	p.waiting = append(p.waiting, now)
	p.mu.Unlock()
	if p.conn.opening.http {
		p.conn.write(p.request(channels, now))
		return
	}
	channel, data := p.next(nil, channels, now)
	frame := append(make([]byte, 0, p.size+len(channel)+64), `{"type":"pub","id":1,"channel":"`...)
	frame = append(append(frame, channel...), `","data":`...)
	p.conn.send(append(append(frame, data...), '}'))
}

// next gives the channel whose turn it is and appends the data for it.
func (p *publisher) next(b []byte, channels []string, now int64) (channel string, data []byte) {
	i := p.turn
	if p.turn++; p.turn == len(channels) {
		p.turn = 0
	}
	number := p.numbers[i]
	p.numbers[i]++
	return channels[i], appendData(b, mark{p.index, number, now}, p.size)
}

// request makes the HTTP request for a message or a batch.
func (p *publisher) request(channels []string, now int64) []byte {
	params := func(b []byte) []byte {
		channel, data := p.next(nil, channels, now)
		b = append(append(append(b, `{"to":{"channel":"`...), channel...), `"},"data":`...)
		return append(append(b, data...), '}')
	}
	verb, body := "publish", make([]byte, 0, p.batch*(p.size+128))
	if p.batch == 1 {
		body = params(body)
	} else {
		verb = "batch"
		body = append(body, `{"commands":[`...)
		for i := range p.batch {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(params(append(body, `{"verb":"publish","params":`...)), '}')
		}
		body = append(body, `]}`...)
	}
	s := p.conn.swarm
	b := append(make([]byte, 0, len(body)+256), "POST /api/v1/"+verb+" HTTP/1.1\r\nHost: "+s.host+"\r\nAuthorization: Bearer "+s.cfg.Key+"\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	return append(b, body...)
}

// pump makes the publishers publish.
type pump struct {
	swarm     *Swarm
	pubs      []*publisher
	channels  []string
	receivers int64   // of one message
	rate      float64 // messages per second in all; 0: as fast as the windows allow
	each      int     // unanswered requests of one publisher
	window    int64   // messages that are not delivered to everybody yet; 0: any number
	turn      int

	sent     atomic.Int64
	offered  atomic.Int64 // sent, and what the rate asked for but the windows held back
	forgiven int64        // deliveries that are not waited for any more
	stalls   int64
}

// stalled is how long the pump waits for deliveries before it goes on without.
const stalled = 3 * time.Second

// run publishes until ctx ends.
func (p *pump) run(ctx context.Context) {
	begun := p.swarm.now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ticks := tick.C
	if p.rate == 0 {
		tick.Reset(100 * time.Millisecond)
	}
	progressed, had := begun, int64(-1)
	for ctx.Err() == nil {
		due := int64(1 << 62)
		if p.rate > 0 {
			due = int64(float64(p.swarm.now()-begun) * p.rate / 1e9)
		}
		p.burst(due)
		if p.rate > 0 {
			// What could not be sent for a while is not made up for later.
			if late := due - p.offered.Load() - int64(p.rate/20) - 1; late > 0 {
				p.offered.Add(late)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		case <-p.swarm.kick:
		}
		if p.window == 0 {
			continue
		}
		now, has := p.swarm.now(), p.arrived()
		if has != had {
			progressed, had = now, has
		} else if now-progressed > int64(stalled) && !p.roomLeft() {
			p.forgiven += p.sent.Load()*p.receivers - has - p.forgiven
			p.stalls++
			progressed = now
		}
	}
}

// arrived is how many deliveries are over.
func (p *pump) arrived() (n int64) {
	for _, l := range p.swarm.lanes {
		n += l.delivered.Load() + l.told.Load()
	}
	for _, pub := range p.pubs {
		n += pub.refused.Load() * p.receivers
	}
	return n
}

// roomLeft tells whether the window allows another message.
func (p *pump) roomLeft() bool {
	return p.window == 0 || p.sent.Load()*p.receivers-p.arrived()-p.forgiven <= (p.window-1)*p.receivers
}

// burst sends what is due and fits.
func (p *pump) burst(due int64) {
	for p.offered.Load() < due && p.roomLeft() {
		var pub *publisher
		for range p.pubs {
			next := p.pubs[p.turn]
			p.turn = (p.turn + 1) % len(p.pubs)
			if next.unanswered() < p.each {
				pub = next
				break
			}
		}
		if pub == nil {
			return
		}
		pub.publish(p.channels)
		p.sent.Add(int64(pub.batch))
		p.offered.Add(int64(pub.batch))
	}
}
