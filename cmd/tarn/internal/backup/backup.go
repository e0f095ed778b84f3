// Package backup keeps copies of a folder in a grid, as immutable directories,
// and brings them back.
//
// Main types: Grid is where copies are kept, Save makes one, Restore brings one
// back. A copy costs what has changed since the last one: a Record of what was
// stored is kept beside it, and a file whose size and times are those of the
// record is neither read nor stored again. An interrupted Save leaves a record,
// too, and the next goes on from there.
//
// Promises: memory is bounded by the largest folder and a window of files, not
// by how many there are. What can't be read or stored is said and left out; the
// rest is kept. Restore writes nothing outside of its target.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// Errors that are said of single files and folders.
var (
	// ErrKind means that something is neither a file nor a folder.
	ErrKind = errors.New("neither a file nor a folder")
	// ErrChanged means that a file changed while it was being read.
	ErrChanged = errors.New("it changed while it was read")
	// ErrName means that a name can't be kept or made here.
	ErrName = errors.New("no such name can be made")
	// ErrInTheWay means that something else is where a file or folder should be.
	ErrInTheWay = errors.New("something else is there")
	// ErrNotFile means that a capability names neither a file nor a directory.
	ErrNotFile = errors.New("neither a file nor a directory")
)

// Grid is where copies are kept. Its methods are called from several
// goroutines.
type Grid interface {
	// PutFile stores what r yields, size bytes.
	PutFile(ctx context.Context, r io.Reader, size int64) (file.Capability, error)
	// PutDirectory stores an immutable directory.
	PutDirectory(ctx context.Context, d *directory.Directory) (file.Capability, error)
	// Healthy tells whether what c names is likely to last.
	Healthy(ctx context.Context, c file.Capability) (bool, error)
}

// Problem is what happened to one file or folder, whose path is relative to the
// whole; "." is that itself.
type Problem struct {
	Path string
	Err  error
}

// Error implements error.
func (p Problem) Error() string { return fmt.Sprintf("%s: %v", p.Path, p.Err) }

// Unwrap returns Err.
func (p Problem) Unwrap() error { return p.Err }

// How many things are under way at a time.
const (
	// maxPuts is how many files and directories are stored at a time.
	maxPuts = 16
	// window is how far the walk is ahead of what is recorded, in files and
	// folders.
	window = 256
)

// stamp is by what a file is taken for unchanged.
type stamp struct {
	Size  int64 `json:"size"`
	Mtime int64 `json:"mtime"` // Unix time in nanoseconds, as the next
	Ctime int64 `json:"ctime"`
}

func stampOf(info os.FileInfo) stamp {
	return stamp{info.Size(), info.ModTime().UnixNano(), changeTime(info)}
}

// settleTime is how long a file must have been left alone for its times to
// change with its content: the clock of a file system ticks.
const settleTime = 100 * time.Millisecond

// settled reports whether any later change gives another stamp.
func (s stamp) settled(now time.Time) bool {
	return now.UnixNano()-max(s.Mtime, s.Ctime) > int64(settleTime)
}
