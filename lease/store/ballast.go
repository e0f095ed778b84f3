package store

import (
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ballastSize is how much of the disk the store keeps for the hour in which
// the disk is full, in bytes: room for some ten thousand changes of leases, and
// for the table to be put in order. On a small disk it is ballastPart of it.
const (
	ballastSize = 8 << 20
	ballastPart = 8
)

const ballastFile = vfs.DiskWriteCategory("tarn-ballast")

// ballast is a file without content. It goes when the table finds the disk
// full, so that leases can still be renewed and given up and what has none be
// deleted; it comes back when there is room again.
type ballast struct {
	mu   sync.Mutex
	fs   vfs.FS
	path string
	size int64 // 0 where the disk does not say how large it is
	held bool
}

// newBallast finds or makes the file; a disk without room for it is full.
func newBallast(fs vfs.FS, dir string) (*ballast, error) {
	b := &ballast{fs: fs, path: fs.PathJoin(dir, "ballast")}
	usage, err := fs.GetDiskUsage(dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	b.size = int64(min(ballastSize, usage.TotalBytes/ballastPart))
	if info, err := fs.Stat(b.path); err == nil && info.Size() == b.size {
		b.held = true
		return b, nil
	}
	b.restore(int64(usage.AvailBytes))
	return b, nil
}

// release gives the room up. Pebble calls it when a write finds none.
func (b *ballast) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held && b.fs.Remove(b.path) == nil {
		b.held = false
	}
}

// left is what others may use of so many free bytes: nothing while the ballast
// is not there.
func (b *ballast) left(free int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size == 0 || b.held {
		return free
	}
	b.restore(free)
	if !b.held {
		return 0
	}
	return free - b.size
}

// restore takes the room again when there is twice as much, so that a disk
// that is just full does not see it come and go.
func (b *ballast) restore(free int64) {
	if free >= 2*b.size {
		b.held = b.make() == nil
	}
}

func (b *ballast) make() error {
	f, err := b.fs.Create(b.path, ballastFile)
	if err != nil {
		return err
	}
	err = errors.Join(fill(f, b.size), f.Sync(), f.Close())
	if err != nil {
		err = errors.Join(err, b.fs.Remove(b.path))
	}
	return err
}

// fill writes zeros: what is only promised by a filesystem, not all of them
// keep.
func fill(f vfs.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for size > 0 {
		n := min(size, int64(len(zeros)))
		if _, err := f.Write(zeros[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}
