//go:build integration

package nodes

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandPatience is how long any command may take.
const commandPatience = 10 * time.Minute

// Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
	// PeakMemory is its largest resident set, in bytes, or that of who started it
	// if that was more.
	PeakMemory int64
}

// Out is what it printed, without the line's end.
func (r Result) Out() string { return strings.TrimSpace(r.Stdout) }

// Command is a command under way.
type Command struct {
	t              testing.TB
	command        *exec.Cmd
	cancel         context.CancelFunc
	stdout, stderr bytes.Buffer
	done           chan struct{}
	err            error
}

// Begin starts `tarn args...`. Nil stdin is an empty one; the result's Stdout
// is empty if stdout is not nil.
func Begin(t testing.TB, stdin io.Reader, stdout io.Writer, args ...string) *Command {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandPatience)
	c := &Command{t: t, cancel: cancel, done: make(chan struct{})}
	c.command = exec.CommandContext(ctx, program, args...)
	c.command.Stdin, c.command.Stdout, c.command.Stderr = stdin, stdout, &c.stderr
	if stdout == nil {
		c.command.Stdout = &c.stdout
	}
	if err := c.command.Start(); err != nil {
		cancel()
		t.Fatalf("start %q: %v", args, err)
	}
	go func() {
		c.err = c.command.Wait()
		close(c.done)
	}()
	t.Cleanup(c.End)
	return c
}

// End kills the command if it still runs.
func (c *Command) End() {
	c.cancel()
	<-c.done
}

// Done is closed when the command has ended.
func (c *Command) Done() <-chan struct{} { return c.done }

// Ended reports whether the command has ended.
func (c *Command) Ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Wait waits for the end.
func (c *Command) Wait() Result {
	c.t.Helper()
	<-c.done
	var exit *exec.ExitError
	if c.err != nil && !errors.As(c.err, &exit) {
		c.t.Fatalf("%q: %v", c.command.Args, c.err)
	}
	ended := c.command.ProcessState
	peak := ended.SysUsage().(*syscall.Rusage).Maxrss << 10
	return Result{ended.ExitCode(), c.stdout.String(), c.stderr.String(), peak}
}

// Run runs `tarn args...` to its end.
func Run(t testing.TB, stdin io.Reader, args ...string) Result {
	t.Helper()
	c := Begin(t, stdin, nil, args...)
	defer c.cancel()
	return c.Wait()
}

// Tarn runs `tarn args...`, which must succeed, and returns what it printed.
func Tarn(t testing.TB, args ...string) string {
	t.Helper()
	r := Run(t, nil, args...)
	if r.Code != 0 {
		t.Fatalf("tarn %s: exit code %d: %s", strings.Join(args, " "), r.Code, r.Stderr)
	}
	return r.Out()
}

// WantFailure runs `tarn args...`, which must fail with this exit code and
// say each of these things, in words and not with a stack trace.
func WantFailure(t testing.TB, code int, args []string, says ...string) {
	t.Helper()
	Run(t, nil, args...).WantFailure(t, code, says...)
}

// WantFailure checks how a command failed.
func (r Result) WantFailure(t testing.TB, code int, says ...string) {
	t.Helper()
	if r.Code != code {
		t.Errorf("exit code %d (want %d): %s", r.Code, code, r.Stderr)
	}
	for _, s := range says {
		if !strings.Contains(r.Stderr, s) {
			t.Errorf("%q does not say %q", r.Stderr, s)
		}
	}
	if !strings.HasPrefix(r.Stderr, "tarn: ") || strings.Contains(r.Stderr, "goroutine ") {
		t.Errorf("%q is no sentence", r.Stderr)
	}
}
