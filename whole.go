package tarn

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/mutable"
)

// A file of the format SDMF is one segment, so all of it, several times over, is in
// memory while it is read or written. Those that are longer than inMemory bytes share
// wholeBudget: the others wait, their content on disk meanwhile.
const wholeBudget = MaxModify

// holdWhole waits until there is memory for a file of a format and size.
func (n *Node) holdWhole(ctx context.Context, f mutable.Format, size int64) (release func(), err error) {
	if f != mutable.SDMF || size <= inMemory {
		return func() {}, nil
	}
	size = min(size, wholeBudget)
	if err := n.wholes.Acquire(ctx, size); err != nil {
		return nil, n.cause(err)
	}
	return func() {
		if size >= wholeBudget/4 {
			runtime.GC() // else the next one's memory would come on top of what this one has left
		}
		n.wholes.Release(size)
	}, nil
}

// fetched is the content of a version that is in memory as a whole while it is
// fetched: on disk, so that who reads slowly, or in pieces, keeps it no longer.
type fetched struct {
	mu sync.Mutex
	in *input // nil until it is there
}

// content fetches it, once.
func (d *fetched) content(f *remoteMutable) (io.ReaderAt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in != nil {
		return d.in, nil
	}
	release, err := f.node.holdWhole(f.ctx, mutable.SDMF, f.Size())
	if err != nil {
		return nil, err
	}
	defer release()
	r, w := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		err := f.writeRange(w, 0, f.Size())
		w.CloseWithError(err)
		failed <- err
	}()
	in, err := f.node.spool(f.ctx, r, f.Size(), &keyMaker{})
	r.CloseWithError(err) // nobody may be left who writes
	if failure := <-failed; failure != nil {
		err = failure
	}
	if err == nil && in.size != f.Size() {
		err = fmt.Errorf("%w: %d bytes came of a file of %d", ErrDamaged, in.size, f.Size())
	}
	if err != nil {
		if in != nil {
			_ = in.Close()
		}
		return nil, err
	}
	d.in = in
	return in, nil
}

// close lets it go.
func (d *fetched) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in != nil {
		_ = d.in.Close() // it was only read
	}
}

// WriteRange implements File.
func (f *remoteMutable) WriteRange(w io.Writer, offset, length int64) error {
	if err := checkRange(f, offset, length); err != nil {
		return err
	}
	if f.cap.MDMF() || f.Size() <= inMemory {
		return f.writeRange(w, offset, length)
	}
	content, err := f.whole.content(f)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(content, offset, length))
	return err
}

// writeRange hands on what the file's actor fetches.
func (f *remoteMutable) writeRange(w io.Writer, offset, length int64) error {
	var stop client.StopReading
	call := f.node.system.Open(f.ctx, f.actor,
		func(replyTo *env.PID) any {
			stop.ReplyTo = replyTo
			return client.ReadMutable{ReplyTo: replyTo, Cap: f.cap, Offset: offset, Length: length, Credit: piecesAhead,
				Version: &f.version.prefix, Params: f.node.config.Client.Params}
		},
		func(replyTo *env.PID) any { return client.StopReading{ReplyTo: replyTo} })
	defer call.Close()
	err := f.node.receive(w, call, Retrieve, f.cap.StorageIndex(), length)
	if err != nil {
		call.Send(stop)
	}
	return err
}
