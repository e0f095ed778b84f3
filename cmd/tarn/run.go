package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
)

// Times at the end of a node; together they stay below 5 seconds.
const (
	endRequests = 1500 * time.Millisecond
	endNode     = 3 * time.Second
)

// readyLine is printed when a node can be used.
const readyLine = "tarn: node is running"

type runOptions struct {
	logLevel     string
	logJSON      bool
	endWithStdin bool
	dir          []string
}

func newRun(e *env) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [DIR]",
		Short: "Run the node until it is told to end",
		Long: `Runs the node of the folder. It ends cleanly, within 5 seconds, on SIGINT
(Ctrl-C) and SIGTERM. Log lines go to standard error.`,
		Example: "  tarn -d ~/tarn-client run",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runRun(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	c.Flags().BoolVar(&o.logJSON, "log-json", false, "log lines are JSON")
	c.Flags().BoolVar(&o.endWithStdin, "end-with-stdin", false, "end when standard input is closed, for programs that start a node")
	return c
}

func runRun(ctx context.Context, e *env, o runOptions) error {
	log, err := newLog(e.stderr, o)
	if err != nil {
		return err
	}
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	n, err := f.load(log)
	if err != nil {
		return err
	}
	if err := n.checkAnonymous(f); err != nil {
		return err
	}
	for _, w := range n.warnings {
		log.Warn("settings: " + w)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	if o.endWithStdin {
		go func() { _, _ = io.Copy(io.Discard, e.stdin); end() }()
	}
	return serve(ctx, e, f, n)
}

func newLog(w io.Writer, o runOptions) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, usageError{err: fmt.Errorf("--log-level %q (want debug, info, warn or error)", o.logLevel)}
	}
	options := &slog.HandlerOptions{Level: level}
	if o.logJSON {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// serve runs the node until ctx ends or the node does.
func serve(ctx context.Context, e *env, f folder, n node) (err error) {
	limitMemory()
	running, err := tarn.Open(ctx, n.config)
	if err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), endNode)
		defer cancel()
		if closeErr := running.Close(closing); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("end the node: %w", closeErr))
		}
	}()
	d, err := openDoors(f, n, running)
	if err != nil {
		return err
	}
	defer d.close(context.WithoutCancel(ctx))
	if err := f.recordReference(ctx, running); err != nil {
		return err
	}
	e.announce(d.url)
	select {
	case <-ctx.Done():
		n.config.Log.Info("node ends")
		return nil
	case <-running.Done():
		return fmt.Errorf("the node ended by itself: %w", running.Err())
	}
}

// announce says that the node runs. Whoever started it may not listen, which
// is no reason to end.
func (e *env) announce(url string) {
	if url != "" {
		_, _ = fmt.Fprintf(e.stdout, "tarn: gateway at %s\n", url)
	}
	_, _ = fmt.Fprintln(e.stdout, readyLine)
}

// recordReference writes down where an introducer, a relay and a helper really
// listen.
func (f folder) recordReference(ctx context.Context, running *tarn.Node) error {
	status, err := running.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	if status.Introducer != nil {
		err = f.record(f.reference(), status.Introducer.String())
	}
	if status.Relay != nil {
		err = errors.Join(err, f.record(f.relayReference(), status.Relay.Ref.String()))
	}
	if status.Helper != nil {
		err = errors.Join(err, f.record(f.helperReference(), status.Helper.Ref.String()))
	}
	return err
}

// record writes a line into a file unless it is there.
func (f folder) record(path, line string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == line+"\n" {
		return nil
	}
	if err := writeFile(path, []byte(line+"\n"), 0o600); err != nil {
		return notWritten(path, err)
	}
	return nil
}
