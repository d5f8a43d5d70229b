package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is a process of this machine that is watched through /proc.
type Process struct{ PID int }

// ticksPerSecond is USER_HZ, which Linux promises to be 100 towards programs.
const ticksPerSecond = 100

// CPU is the processor time that the process has used, its threads together;
// the resolution is 10 ms.
func (p Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return 0, err
	}
	// The name of the program stands in brackets and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("stat has too few fields")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / ticksPerSecond), errors.Join(err1, err2)
}

// RSS is the memory of the process that is in use, in bytes, counted page by
// page where the kernel allows it.
func (p Process) RSS() (int64, error) {
	var failed error
	for _, from := range [...]struct{ file, line string }{{"smaps_rollup", "Rss:"}, {"status", "VmRSS:"}} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID, from.file))
		if err != nil {
			failed = err
			continue
		}
		if _, rest, ok := strings.Cut(string(text), "\n"+from.line); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.Join(errors.New("the kernel does not tell"), failed)
}

// FindProcess asks the server for its process id and gives the process when it
// really listens on this machine at the URL's port. ok is false when the server
// runs elsewhere, does not tell, or may not be looked at.
func FindProcess(ctx context.Context, baseURL, key string) (p Process, ok bool) {
	base := strings.Replace(baseURL, "ws", "http", 1)
	if !strings.HasPrefix(baseURL, "ws") {
		base = baseURL
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+"/api/v1/info", strings.NewReader("{}"))
	if err != nil {
		return p, false
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, false
	}
	defer func() { _ = res.Body.Close() }()
	var info struct{ PID int }
	if body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20)); err != nil || json.Unmarshal(body, &info) != nil || info.PID == 0 {
		return p, false
	}
	_, port, err := net.SplitHostPort(req.URL.Host)
	if err != nil {
		return p, false
	}
	p = Process{info.PID}
	return p, p.listens(port)
}

// listens tells whether the process has a listening socket at a port: without
// that check the number could belong to another machine, or another process.
func (p Process) listens(port string) bool {
	number, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	sockets := map[string]bool{}
	for _, table := range [...]string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			const listening = "0A"
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == listening && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
	if err != nil {
		return false
	}
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && sockets[to] {
			return true
		}
	}
	return false
}
