//go:build !linux

package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// account is whom the programs run as: here only ourselves.
type account struct{}

func unprivileged() (*account, error) {
	if os.Geteuid() == 0 {
		return nil, errors.New("pgtest: PostgreSQL refuses to run as root; run the tests as another user")
	}
	return nil, nil
}

func (a *account) own(string) error { return nil }
func (a *account) run(*exec.Cmd)    {}

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	log   *serverLog
	ended chan struct{} // closed when it has ended
}

// launch starts cmd. There is no signal for the death of a parent here: a
// server whose test was killed has to be ended by hand.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: newServerLog(), ended: make(chan struct{})}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	return p, nil
}

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

// kill ends the postmaster; its children find out and end, too.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}
