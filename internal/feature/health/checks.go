package health

import (
	"fmt"
	"slices"
	"time"
)

// A check gives the problems of one code. It is called with the feature locked.
type check func(f *Feature, now time.Time) []Problem

var checks = []check{
	storeFailing, storeSlow, hooksOpen, hooksDropping, dropping, refusing, losing, schedulesFailing, campaignsFailing,
	full, descriptorsLow, diskLow, auditFailing, draining, development,
}

func one(p Problem) []Problem { return []Problem{p} }

// millis is a time for a problem; 0, which stands for "when it was first seen", when it is not known.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func storeFailing(f *Feature, _ time.Time) []Problem {
	since, reason, failing := f.cfg.StoreFailing()
	if !failing {
		return nil
	}
	return one(Problem{Code: StoreFailing, Severity: Error, Since: millis(since),
		Text: "nothing can be stored: " + reason, Values: map[string]any{"error": reason}})
}

func storeSlow(f *Feature, now time.Time) []Problem {
	if f.slow.since.IsZero() || now.Sub(f.slow.since) < slowFor {
		return nil
	}
	p99 := f.slow.p99.Seconds()
	return one(Problem{Code: StoreSlow, Severity: Warning, Since: millis(f.slow.since),
		Text: fmt.Sprintf("the slowest commits of the store take %.1f s", p99), Values: map[string]any{"p99": p99}})
}

func hooksOpen(f *Feature, _ time.Time) []Problem {
	since, reason, open := f.cfg.HooksOpen()
	if !open {
		return nil
	}
	return one(Problem{Code: HooksOpen, Severity: Error, Since: millis(since),
		Text: "the application's backend fails and is left alone for now: " + reason, Values: map[string]any{"error": reason}})
}

func hooksDropping(f *Feature, _ time.Time) []Problem {
	n := f.lastMinute(hooksDropped)
	if n == 0 {
		return nil
	}
	return one(Problem{Code: HooksDropping, Severity: Error,
		Text: fmt.Sprintf("the application's backend was not told %s in the last minute", many(n, "event")), Values: map[string]any{"count": n}})
}

func dropping(f *Feature, _ time.Time) []Problem {
	n := f.lastMinute(messagesDropped)
	if n == 0 {
		return nil
	}
	return one(Problem{Code: MessagesDropped, Severity: Warning,
		Text: fmt.Sprintf("slow readers missed %s in the last minute", many(n, "message")), Values: map[string]any{"count": n}})
}

func refusing(f *Feature, _ time.Time) []Problem {
	n := f.lastMinute(publishersRefused)
	if n == 0 {
		return nil
	}
	return one(Problem{Code: PublishersRefused, Severity: Warning,
		Text: fmt.Sprintf("%s refused in the last minute, because more is published than can be delivered", wereMany(n, "message")), Values: map[string]any{"count": n}})
}

func losing(f *Feature, _ time.Time) []Problem {
	n, there := f.lastMinute(connectionsLost), f.cfg.Connections()
	if n*100 <= there+n {
		return nil
	}
	return one(Problem{Code: ConnectionsLost, Severity: Warning,
		Text: fmt.Sprintf("%s silent or took nothing and %s given up in the last minute, of %d", wereMany(n, "connection"), were(n), there+n), Values: map[string]any{"count": n, "of": there + n}})
}

func schedulesFailing(f *Feature, _ time.Time) (list []Problem) {
	for _, s := range f.schedules {
		list = append(list, Problem{Code: ScheduleFailed, Severity: Warning, Since: s.Since, of: s.Name,
			Text: fmt.Sprintf("the last run of the schedule %q failed: %s", s.Name, s.Error), Values: map[string]any{"name": s.Name, "error": s.Error}})
	}
	slices.SortFunc(list, func(a, b Problem) int { // a map has no order
		if a.of < b.of {
			return -1
		}
		return 1
	})
	return list
}

func campaignsFailing(f *Feature, _ time.Time) (list []Problem) {
	for _, c := range f.campaigns {
		list = append(list, Problem{Code: CampaignFailing, Severity: Error, Since: c.Since, of: c.Name,
			Text: fmt.Sprintf("the campaign %s does not get on: %s", c.Name, c.Error), Values: map[string]any{"id": c.Name, "error": c.Error}})
	}
	return list
}

func full(f *Feature, _ time.Time) []Problem {
	n, most := f.cfg.Connections(), f.cfg.MaxConnections()
	if most == 0 || n*10 < most*9 {
		return nil
	}
	p := Problem{Code: ConnectionsFull, Severity: Warning,
		Text: fmt.Sprintf("there are %d connections of the %d that limits.connections allows", n, most), Values: map[string]any{"connections": n, "limit": most}}
	if n >= most {
		p.Severity = Error
	}
	return one(p)
}

func descriptorsLow(f *Feature, _ time.Time) []Problem {
	open, most := f.files.open, f.files.most
	if most == 0 || open < most-most/10 {
		return nil
	}
	return one(Problem{Code: DescriptorsLow, Severity: Error,
		Text: fmt.Sprintf("%d files and connections are open of the %d that the system allows (ulimit -n)", open, most), Values: map[string]any{"open": open, "limit": most}})
}

// lowDisk is what is not little, whatever part of the disk it is.
const lowDisk = 1 << 30

func diskLow(f *Feature, _ time.Time) []Problem {
	free, total := f.disk.free, f.disk.total
	if total == 0 || free >= total/10 || free >= lowDisk {
		return nil
	}
	return one(Problem{Code: DiskLow, Severity: Error,
		Text: fmt.Sprintf("%d MiB are free of the %d MiB of the disk where data is", free>>20, total>>20), Values: map[string]any{"free": free, "total": total}})
}

func auditFailing(f *Feature, _ time.Time) []Problem {
	since, failing := f.cfg.Audit()
	if !failing {
		return nil
	}
	return one(Problem{Code: AuditFailing, Severity: Error, Since: millis(since), Text: "the audit log cannot be written, so that what would be in it is refused"})
}

func draining(f *Feature, _ time.Time) []Problem {
	if !f.cfg.Draining() {
		return nil
	}
	return one(Problem{Code: Draining, Severity: Warning, Text: "the server is stopping and sends its clients away"})
}

func development(f *Feature, _ time.Time) []Problem {
	if !f.cfg.Dev {
		return nil
	}
	return one(Problem{Code: Dev, Severity: Warning, Text: "the server is in development mode: whoever reaches it may be anyone"})
}

func many(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func were(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func wereMany(n int64, noun string) string { return many(n, noun) + " " + were(n) }
