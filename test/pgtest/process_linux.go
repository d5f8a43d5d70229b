package pgtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// account is whom the programs run as.
type account struct{ uid, gid uint32 }

// unprivileged finds an account for programs that refuse to be root. Nil: we
// are not root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &account{uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("pgtest: PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody")
}

// own gives the account a folder that root has made.
func (a *account) own(folder string) error { return os.Chown(folder, int(a.uid), int(a.gid)) }

// run makes cmd run as the account.
func (a *account) run(cmd *exec.Cmd) {
	if a != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
	}
}

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	log   *serverLog
	ended chan struct{} // closed when it has ended
}

// launch starts cmd so that it ends with us: the kernel sends it the signal for
// an immediate shutdown when the thread that started it is gone. That is why
// the goroutine keeps its thread until the server has ended.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: newServerLog(), ended: make(chan struct{})}
	cmd.Stderr = p.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(p.ended)
		}
	}()
	return p, <-started
}

// signal is for a server that may have ended meanwhile, which is no mistake.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// stopTimeout is how long an orderly end may take.
const stopTimeout = 20 * time.Second

func (p *process) stop() {
	p.signal(syscall.SIGINT)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		p.kill()
	}
}

// kill ends the postmaster and its children without giving them a chance. It
// stands still first, so that it makes no more of them.
func (p *process) kill() {
	p.signal(syscall.SIGSTOP)
	for _, pid := range childrenOf(p.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	}
	p.signal(syscall.SIGKILL)
	// They all hold the pipe of the log, so this waits for the last of them: a new
	// server refuses the data while one is left.
	<-p.ended
}

// childrenOf lists the processes whose parent is pid.
func childrenOf(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is a good one
	for _, path := range stats {
		pid, state, of := readStat(path)
		if of == parent && state != 'Z' {
			pids = append(pids, pid)
		}
	}
	return pids
}

// readStat reads pid, state and parent of a process; zeros when it is gone.
// proc(5): pid (name) state ppid …, where the name may hold anything.
func readStat(path string) (pid int, state byte, parent int) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, 0
	}
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, 0, 0
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 2 {
		return 0, 0, 0
	}
	pid, _ = strconv.Atoi(string(bytes.Fields(text)[0])) // the kernel wrote it
	parent, _ = strconv.Atoi(string(fields[1]))
	return pid, fields[0][0], parent
}
