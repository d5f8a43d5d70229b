package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// logs measures log channels: their store alone, and the server that keeps them.
func logs(ctx context.Context, b *bench) error {
	memory, err := inMemory(b.disk)
	if err != nil {
		return err
	}
	if memory {
		return fmt.Errorf("%s is in memory, where nothing waits for a disk; name a folder on one with --disk", b.disk)
	}
	dir, err := os.MkdirTemp(b.disk, "skein-bench-log-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, step := range []struct {
		name string
		run  func(context.Context, string) error
	}{{"append", b.appends}, {"bulk", b.bulk}, {"storm", b.storm}, {"delivery", b.halfRate}} {
		own := filepath.Join(dir, step.name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		if err := step.run(ctx, own); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if err := os.RemoveAll(own); err != nil {
			return err
		}
	}
	return nil
}

// kept is what the program that drives a store measured; see bench/store.
type kept struct {
	Seconds, Each, Log, Written float64
	Count, Commits, Failed      int64
	Sync                        float64 `json:"sync_ms"`
	Took                        float64 `json:"took_ms"`
	P50                         float64 `json:"p50_ms"`
	P99                         float64 `json:"p99_ms"`
	CPU                         float64
	Messages, Channels          int64
}

func (k kept) perSecond() float64 { return float64(k.Count) / max(k.Seconds, 1e-9) }

// store runs the program that drives a store, on both cores: it is a library
// here, and who asks it is in the same process. With a name it records a
// profile, when profiles are wanted.
func (b *bench) store(ctx context.Context, name string, args ...string) (k kept, err error) {
	if b.profiles != "" && name != "" {
		args = append(args, "-profile", filepath.Join(b.profiles, name+".pprof"))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.programs, "store"), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return k, err
	}
	if err := startOn(cmd, serverCore, generatorCore); err != nil {
		return k, err
	}
	err = json.NewDecoder(out).Decode(&k)
	if failed := cmd.Wait(); failed != nil {
		err = failed
	}
	if err != nil {
		return k, fmt.Errorf("store %v: %w", args, err)
	}
	return k, nil
}

// span is how long something is measured by a program that drives a store.
func (b *bench) span() string {
	return pick(b, 5*time.Second, 1500*time.Millisecond).String()
}

// appending is one round: appends, and writes of as many bytes as its commits.
type appending struct{ store, floor kept }

// appends measures appends one by one, by many at a time, to very many channels.
func (b *bench) appends(ctx context.Context, dir string) error {
	where := []string{"-dir", dir}
	if err := b.appendsTo(ctx, "SQLite", where, dir); err != nil || b.database == "" {
		return err
	}
	return b.appendsTo(ctx, "PostgreSQL", []string{"-database", b.database}, "")
}

func (b *bench) appendsTo(ctx context.Context, name string, where []string, dir string) error {
	channels := pick(b, 1_000_000, 50_000)
	to := func(more ...string) []string {
		return append(append(append([]string{}, where...), "-channels", strconv.Itoa(channels), "-duration", b.span()), more...)
	}
	filled, err := b.store(ctx, "", to("-mode", "fill", "-workers", "64", "-group", "100")...)
	if err != nil {
		return err
	}
	for _, keys := range []bool{false, true} {
		l := line{Name: fmt.Sprintf("append to %d log channels, 256 at a time, %s", channels, name), Unit: "/s", Least: 40_000}
		profile := "append-" + name
		args := to("-mode", "append", "-workers", "256", "-warmup", pick(b, "2s", "500ms"))
		if keys {
			l.Name, profile, args = l.Name+", with a key", profile+"-keys", append(args, "-keys")
		}
		r, err := middle(pick(b, 3, 1), func() (r appending, err error) {
			if r.store, err = b.store(ctx, profile, args...); err != nil || r.store.Log == 0 {
				return r, err
			}
			r.floor, err = b.store(ctx, "", "-mode", "floor", "-dir", dir, "-bytes", strconv.Itoa(int(r.store.Log)), "-duration", b.span())
			return r, err
		}, func(r appending) float64 { return r.store.perSecond() })
		if err != nil {
			return err
		}
		s := r.store
		l.Measured = s.perSecond()
		l.Note = fmt.Sprintf("commits of %.0f appends take %.1f ms, %.1f of them until they are on disk; answers p50 %.1f ms, p99 %.1f ms; %.2f cores", s.Each, s.Took, s.Sync, s.P50, s.P99, s.CPU)
		if r.floor.Count > 0 {
			l.Floor = r.floor.perSecond() * s.Each
			l.Note += fmt.Sprintf("; a commit writes %.0f KiB to the log and %.0f KiB in all; floor: %.0f such writes and syncs a second (%.1f ms each)",
				s.Log/1024, s.Written/1024, r.floor.perSecond(), 1000/r.floor.perSecond())
		}
		if dir == "" {
			l.Least = 0 // it depends on a server that is not ours
		}
		if !keys {
			l.Note += fmt.Sprintf("; filled before by %.0f/s", filled.perSecond())
		}
		b.report(l)
	}
	return nil
}

// bulk measures what messages take on the disk, and reading them.
func (b *bench) bulk(ctx context.Context, dir string) error {
	channels, messages := pick(b, 10_000, 2_000), pick(b, 1_000_000, 200_000)
	of := func(more ...string) []string {
		return append([]string{"-dir", dir, "-channels", strconv.Itoa(channels), "-messages", strconv.Itoa(messages)}, more...)
	}
	k, err := b.store(ctx, "load", of("-mode", "load", "-workers", "64", "-group", "100")...)
	if err != nil {
		return err
	}
	size, err := sizeOf(dir)
	if err != nil {
		return err
	}
	b.report(line{Name: fmt.Sprintf("disk for a message of 128 bytes, %d in %d channels", messages, channels), Unit: "B", Measured: float64(size) / float64(messages), Budget: 300,
		Note: fmt.Sprintf("all files after closing; with user, device and connection, without a key; loaded by %.0f/s", k.perSecond())})
	const readers = 8
	for _, page := range []int{1, 10} {
		r, err := middle(pick(b, 3, 1), func() (kept, error) {
			return b.store(ctx, "read-"+strconv.Itoa(page), of("-mode", "read", "-workers", strconv.Itoa(readers), "-duration", b.span(), "-page", strconv.Itoa(page))...)
		}, kept.perSecond)
		if err != nil {
			return err
		}
		l := line{Name: fmt.Sprintf("read the message after one at random, %d readers", readers), Unit: "/s", Measured: r.perSecond(), Least: 50_000,
			Note: fmt.Sprintf("p50 %.2f ms, p99 %.2f ms; %.2f cores", r.P50, r.P99, r.CPU)}
		if page > 1 {
			// So many stand on as many pages of the file, since it is in the order of appends.
			l.Name, l.Least = fmt.Sprintf("read the %d messages after one at random, %d readers", page, readers), 0
			l.Note = fmt.Sprintf("%.1f messages each, %.0f/s in all; ", r.Each, r.perSecond()*r.Each) + l.Note
		}
		b.report(l)
	}
	return nil
}

// sizeOf is the bytes of all files below a folder.
func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
