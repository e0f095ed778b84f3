//go:build integration

package nodes

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/web/control"
)

// readyLine is what a node prints when it can be used.
const readyLine = "tarn: node is running"

// Node is a node's folder and, while it runs, its process.
type Node struct {
	Name, Dir string
	Control   *control.Client
	// Namespace is the network namespace that it runs in; empty is the test's own.
	Namespace string

	t       testing.TB
	logs    string
	command *exec.Cmd
	input   io.Closer
	ready   chan struct{} // closed when it can be used
	ended   chan struct{} // closed when the process is gone; nil before the first start
	err     error         // how it ended
}

// NewNode is the node in the folder, which has been created.
func NewNode(t testing.TB, dir string) *Node {
	n := &Node{Name: filepath.Base(dir), Dir: dir, t: t, logs: t.TempDir(), Control: control.NewClient(filepath.Join(dir, "private", "control.sock"))}
	t.Cleanup(n.end)
	return n
}

// Path is of a file in the node's folder.
func (n *Node) Path(parts ...string) string {
	return filepath.Join(append([]string{n.Dir}, parts...)...)
}

// Begin starts the process and does not wait.
func (n *Node) Begin() {
	n.t.Helper()
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	args := []string{program, "-d", n.Dir, "run", "--end-with-stdin", "--log-level", "debug"}
	if n.Namespace != "" {
		args = append([]string{"ip", "netns", "exec", n.Namespace}, args...)
	}
	c := exec.Command(args[0], args[1:]...)
	c.Stderr = log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := c.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	output, err := c.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.command, n.input, n.ready, n.ended = c, input, make(chan struct{}), make(chan struct{})
	go n.watch(output)
}

// logPath is not in the folder, which may be on a small or read-only disk.
func (n *Node) logPath() string { return filepath.Join(n.logs, n.Name+".log") }

func (n *Node) watch(output io.Reader) {
	ready := n.ready
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if lines.Text() == readyLine && ready != nil {
			close(ready)
			ready = nil
		}
	}
	n.err = n.command.Wait()
	close(n.ended)
}

// Start starts the process, waits until it can be used, and says how long
// that took.
func (n *Node) Start() time.Duration {
	n.t.Helper()
	begin := time.Now()
	n.Begin()
	n.Ready()
	return time.Since(begin)
}

// Ready waits until a node that was begun can be used.
func (n *Node) Ready() {
	n.t.Helper()
	select {
	case <-n.ready:
	case <-n.ended:
		n.t.Fatalf("%s ended: %v; its last words: %s", n.Name, n.err, n.LastWords())
	case <-time.After(Patience):
		n.t.Fatalf("%s is not ready after %v; its last words: %s", n.Name, Patience, n.LastWords())
	}
}

// LastWords are the end of the log.
func (n *Node) LastWords() string {
	log := n.Log()
	return log[max(0, len(log)-2000):]
}

// Log is all that the node has logged, in all its runs.
func (n *Node) Log() string {
	b, err := os.ReadFile(n.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop ends the process as an operator does, cleanly, and says how long that
// took.
func (n *Node) Stop() time.Duration {
	n.t.Helper()
	begin := time.Now()
	n.Signal(syscall.SIGTERM)
	n.WaitEnd()
	return time.Since(begin)
}

// WaitEnd waits until a node that was told to end has done so, cleanly.
func (n *Node) WaitEnd() {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(Patience):
		n.t.Fatalf("%s does not end", n.Name)
	}
	n.input.Close()
	if n.err != nil {
		n.t.Fatalf("%s did not end cleanly: %v; its last words: %s", n.Name, n.err, n.LastWords())
	}
}

// Kill ends the process without a chance to tidy up.
func (n *Node) Kill() {
	n.t.Helper()
	n.Signal(syscall.SIGKILL)
	<-n.ended
	n.input.Close()
}

// Signal sends the process a signal.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.command.Process.Signal(s); err != nil {
		n.t.Fatalf("signal %s: %v", n.Name, err)
	}
}

// Running reports whether the process is there.
func (n *Node) Running() bool {
	if n.ended == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// end is for the end of a test, whatever came before.
func (n *Node) end() {
	n.Control.Close()
	if n.Running() {
		_ = n.command.Process.Signal(syscall.SIGCONT)
		_ = n.command.Process.Kill()
		<-n.ended
		n.input.Close()
	}
	if n.t.Failed() {
		n.t.Logf("%s: %s", n.Name, n.LastWords())
	}
}

// Status asks the node.
func (n *Node) Status() control.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	s, err := n.Control.Status(ctx)
	if err != nil {
		n.t.Fatalf("ask %s: %v; its last words: %s", n.Name, err, n.LastWords())
	}
	return s
}

// LoggedIn is how many servers the node may store on.
func (n *Node) LoggedIn() (count int) {
	n.t.Helper()
	for _, s := range n.Status().Servers {
		if s.LoggedIn {
			count++
		}
	}
	return count
}

// WaitLogins waits until the node may store on so many servers.
func (n *Node) WaitLogins(servers int) {
	n.t.Helper()
	Until(n.t, fmt.Sprintf("%s logged in on %d servers", n.Name, servers), Patience, func() bool { return n.LoggedIn() == servers })
}

// CPUTime is how long the process has had a processor, to a hundredth of a second
// (proc_pid_stat(5), utime and stime).
func (n *Node) CPUTime() time.Duration {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.command.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte(") ")) // the name may have spaces
	fields, ticks := strings.Fields(string(rest)), 0
	for _, f := range fields[11:13] {
		spent, err := strconv.Atoi(f)
		if err != nil {
			n.t.Fatal(err)
		}
		ticks += spent
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// PeakMemory is the most resident memory that the process ever had, bytes.
func (n *Node) PeakMemory() int64 {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.command.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if rest, ok := strings.CutPrefix(string(line), "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				n.t.Fatal(err)
			}
			return kb << 10
		}
	}
	n.t.Fatalf("no VmHWM of %s", n.Name)
	return 0
}
