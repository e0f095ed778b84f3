package tarn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// piecesAhead is how many pieces may wait for a slow reader.
const piecesAhead = 2

// Open opens the file that a capability names: for a mutable one, a MutableFile of
// the newest version that can be read. Nothing of the content is fetched before it
// is read. Errors: ErrCap, for mutable files also ErrNotEnoughShares.
func (n *Node) Open(ctx context.Context, capability string, how ...Option) (File, error) {
	parsed, err := file.Parse(strings.TrimSpace(capability))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCap, err)
	}
	return n.openContent(ctx, parsed, AuthorityOf(how...))
}

// openContent opens what a capability names, if that is a file.
func (n *Node) openContent(ctx context.Context, c file.Capability, a lease.Authority) (File, error) {
	if n.config.Client == nil {
		return nil, ErrNoClient
	}
	if err := n.prohibited.permit(c); err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case file.LIT:
		return literalFile(c.Data), nil
	case file.CHK:
		return n.openFile(ctx, c, a)
	case file.Mutable:
		return n.openMutable(ctx, c, a)
	}
	return nil, fmt.Errorf("%w: a capability of the kind %s can't be read as a file yet", ErrCap, c.Kind())
}

// literalFile lies in its capability.
type literalFile string

func (f literalFile) Size() int64 { return int64(len(f)) }

func (f literalFile) WriteRange(w io.Writer, offset, length int64) error {
	if err := checkRange(f, offset, length); err != nil {
		return err
	}
	_, err := io.WriteString(w, string(f[offset:offset+length]))
	return err
}

func (literalFile) Close() error { return nil }

// errRange is a range that is not within the file.
var errRange = errors.New("no such range of the file")

func checkRange(f File, offset, length int64) error {
	if offset < 0 || length < 0 || offset > f.Size() || length > f.Size()-offset {
		return fmt.Errorf("%w: %d bytes from %d of %d", errRange, length, offset, f.Size())
	}
	return nil
}

// remoteFile is read from the grid by a download actor, its own until it is
// closed.
type remoteFile struct {
	node   *Node
	ctx    context.Context
	cancel context.CancelFunc
	key    warmKey
	actor  *env.PID
	closed sync.Once
}

func (n *Node) openFile(ctx context.Context, c file.CHK, a lease.Authority) (File, error) {
	ctx, cancel := n.until(ctx)
	f := &remoteFile{node: n, ctx: ctx, cancel: cancel, key: warmKey{c, a.ID()}}
	n.counters.gets.Inc()
	if f.actor = n.warm.take(f.key); f.actor != nil {
		return f, nil
	}
	opened, err := env.Ask[client.Opened](ctx, n.system, n.root,
		func(replyTo *env.PID) any {
			return actors.ToClient{Message: client.Open{ReplyTo: replyTo, Cap: c, Authority: a}}
		},
		func(replyTo *env.PID) any { return actors.ToClient{Message: client.Cancel{ReplyTo: replyTo}} })
	if err != nil {
		cancel()
		return nil, n.cause(public(err))
	}
	f.actor = opened.PID
	return f, nil
}

// Size implements File.
func (f *remoteFile) Size() int64 { return f.key.cap.Size }

// WriteRange implements File. The context is the one that the file was opened
// with.
func (f *remoteFile) WriteRange(w io.Writer, offset, length int64) error {
	if err := checkRange(f, offset, length); err != nil {
		return err
	}
	var stop client.StopReading
	call := f.node.system.Open(f.ctx, f.actor,
		func(replyTo *env.PID) any {
			stop.ReplyTo = replyTo
			return client.ReadRange{ReplyTo: replyTo, Offset: offset, Length: length, Credit: piecesAhead}
		},
		func(replyTo *env.PID) any { return client.StopReading{ReplyTo: replyTo} })
	defer call.Close()
	err := f.node.receive(w, call, Download, indexOf(f.key.cap), length)
	if err != nil {
		call.Send(stop)
	}
	return err
}

// receive writes the pieces of a file until the end of the range.
func (n *Node) receive(w io.Writer, call *env.Call, kind TransferKind, si grid.StorageIndex, length int64) error {
	t := n.transfers.begin(kind, si, length)
	err := copyPieces(io.MultiWriter(countingWriter{w, n.counters.getBytes}, t), call)
	if err != nil {
		n.counters.getErrors.Inc()
	}
	err = n.cause(public(err))
	t.end(err)
	return err
}

// copyPieces writes what comes until the end of the range.
func copyPieces(w io.Writer, call *env.Call) error {
	for {
		reply, err := call.Next()
		if err != nil {
			return err
		}
		switch m := reply.(type) {
		case client.Piece:
			_, err := w.Write(m.Data)
			m.Release()
			if err != nil {
				return err
			}
			call.Send(client.MorePieces{Count: 1})
		case client.RangeEnd:
			return nil
		case error:
			return m
		}
	}
}

// Close implements File. What is known of the file stays warm for a while.
func (f *remoteFile) Close() error {
	f.closed.Do(func() {
		f.node.warm.put(f.key, f.actor)
		f.cancel()
	})
	return nil
}

// countingWriter counts what is handed on.
type countingWriter struct {
	io.Writer
	bytes prometheus.Counter
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.bytes.Add(float64(n))
	return n, err
}
