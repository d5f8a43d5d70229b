package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// floor writes a file again and again from its beginning, as a write-ahead log
// is, and syncs it after each write.
func (t *task) floor() (err error) {
	if t.bytes <= 0 {
		return errors.New("bytes: a floor needs to know how many")
	}
	const size = 64 << 20
	file, err := os.Create(filepath.Join(t.dir, "floor"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	b := make([]byte, max(t.bytes, 1<<20))
	for i := range b {
		b[i] = byte(i * 7) // what is nothing but zeros might not be written at all
	}
	for at := int64(0); at < size; at += 1 << 20 {
		if _, err := file.WriteAt(b[:1<<20], at); err != nil {
			return err
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	begun := time.Now()
	for at := int64(0); time.Since(begun) < t.span; at += int64(t.bytes) {
		if at+int64(t.bytes) > size {
			at = 0
		}
		if _, err := file.WriteAt(b[:t.bytes], at); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		t.result.Count++
	}
	t.result.Seconds = time.Since(begun).Seconds()
	return nil
}

// meter counts the commits of a store. It implements store.Observer.
type meter struct {
	path string // of SQLite's index of its write-ahead log

	mu         sync.Mutex // guards all below
	file       *os.File
	frames     uint32
	commits    int64
	commands   int64
	failed     int64
	log        int64
	took, sync time.Duration
}

// Commit implements store.Observer.
func (m *meter) Commit(_, commands int, took, sync time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.failed++
		return
	}
	m.commits++
	m.commands += int64(commands)
	m.took, m.sync = m.took+took, m.sync+sync
	m.log += m.grown()
}

// Query implements store.Observer.
func (m *meter) Query(string, time.Duration, error) {}

// grown is how many bytes the write-ahead log has grown by since it was looked
// at last, by the number of frames in its index (see "WAL-Index File Format" of
// SQLite's documentation); 0 where there is none.
func (m *meter) grown() int64 {
	if m.file == nil {
		var err error
		if m.file, err = os.Open(m.path); err != nil {
			return 0
		}
	}
	var head [20]byte
	if _, err := m.file.ReadAt(head[:], 0); err != nil {
		return 0
	}
	const frameHeader = 24
	page, frames := int64(binary.NativeEndian.Uint16(head[14:])), binary.NativeEndian.Uint32(head[16:])
	grown := int64(frames) - int64(m.frames)
	if grown < 0 { // it began anew
		grown = int64(frames)
	}
	m.frames = frames
	return grown * (page + frameHeader)
}

// reset begins anew.
func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grown()
	m.commits, m.commands, m.failed, m.log, m.took, m.sync = 0, 0, 0, 0, 0, 0
}

// fill fills in what was counted.
func (m *meter) fill(r *result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Commits, r.Failed = m.commits, m.failed
	if m.commits == 0 {
		return
	}
	n := float64(m.commits)
	r.Each, r.Log = float64(m.commands)/n, float64(m.log)/n
	r.Took, r.Sync = m.took.Seconds()*1000/n, m.sync.Seconds()*1000/n
}

// written is how many bytes the process has given to the kernel to be written.
func written() (int64, error) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), "wchar: ")
	if !ok {
		return 0, fmt.Errorf("/proc/self/io tells no wchar")
	}
	number, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(number, 10, 64)
}
