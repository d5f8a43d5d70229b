package pgtest_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestNothingIsLeftRunning(t *testing.T) {
	for _, end := range []string{"panic", "kill"} {
		t.Run(end, func(t *testing.T) {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childMode+"="+end)
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			address, folder, _ := strings.Cut(strings.TrimSpace(line), " ")
			t.Cleanup(func() { _ = os.RemoveAll(folder) })
			if end == "kill" {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if err := child.Wait(); err == nil {
				t.Error("the child ended well")
			}
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			limit := time.After(10 * time.Second)
			for {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					return // the port is free again
				}
				_ = conn.Close()
				select {
				case <-tick.C:
				case <-limit:
					t.Fatal("the server still runs")
				}
			}
		})
	}
}
