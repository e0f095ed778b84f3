package store

import (
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// dropFromCache tells the system that nobody will soon read the first bytes of
// a file, which are on the disk. It is advice: that it may fail does not matter.
func dropFromCache(f vfs.File, length int64) {
	if fd := f.Fd(); fd != vfs.InvalidFd {
		_ = unix.Fadvise(int(fd), 0, length, unix.FADV_DONTNEED)
	}
}
