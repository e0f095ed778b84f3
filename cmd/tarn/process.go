package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/tarn-grid/tarn/web/control"
)

// processPatience is how long a node may take to start or to end.
const processPatience = 20 * time.Second

// process is a node of the demo in a process of its own. It ends with this
// one, however that ends, because its standard input then closes.
type process struct {
	name    string
	folder  folder
	control *control.Client

	command  *exec.Cmd
	input    io.Closer
	ended    chan struct{} // closed when the process is gone
	endedBy  error
	stopping sync.Once
	stopped  error
}

// start runs the node and returns when it can be used.
func (p *process) start(ctx context.Context, program string) error {
	log, err := os.Create(filepath.Join(p.folder.dir, "node.log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer log.Close()
	c := exec.Command(program, "-d", p.folder.dir, "run", "--end-with-stdin")
	c.Stderr = log
	// Ctrl-C is for the demo alone, which then ends its nodes in order.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := c.StdinPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	output, err := c.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.command, p.input, p.ended = c, input, make(chan struct{})
	ready := make(chan struct{})
	go p.watch(output, ready)
	return p.waitReady(ctx, ready)
}

// watch reads what the node prints, to its end.
func (p *process) watch(output io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == readyLine && ready != nil {
			close(ready)
			ready = nil
		}
	}
	p.endedBy = p.command.Wait()
	close(p.ended)
}

func (p *process) waitReady(ctx context.Context, ready <-chan struct{}) error {
	patience := time.NewTimer(processPatience)
	defer patience.Stop()
	select {
	case <-ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("%w: %s: %w; its last words: %s", errDemoEnded, p.name, p.endedBy, p.lastWords())
	case <-patience.C:
		return fmt.Errorf("%s is not ready after %v; its last words: %s", p.name, processPatience, p.lastWords())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lastWords are the end of the node's log.
func (p *process) lastWords() string {
	content, err := os.ReadFile(filepath.Join(p.folder.dir, "node.log"))
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-500):])
}

// stop ends the node as an operator would, and by force if it does not obey.
func (p *process) stop() error {
	p.stopping.Do(func() {
		p.control.Close()
		if p.command != nil && p.command.Process != nil {
			p.stopped = p.terminate()
		}
	})
	return p.stopped
}

func (p *process) terminate() error {
	defer p.input.Close()
	// An error means that it is gone already, which shows below.
	_ = p.command.Process.Signal(syscall.SIGTERM)
	patience := time.NewTimer(processPatience)
	defer patience.Stop()
	select {
	case <-p.ended:
	case <-patience.C:
		_ = p.command.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within %v and was killed", p.name, processPatience)
	}
	if p.endedBy != nil {
		return fmt.Errorf("%s did not end cleanly: %w; its last words: %s", p.name, p.endedBy, p.lastWords())
	}
	return nil
}
