package tarn

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
)

// blacklistFile is where Tahoe-LAFS has its list of files that a node does not give
// out, in the node's folder: "STORAGE-INDEX REASON" on each line, and comments behind
// "#" (docs/frontends/webapi.rst, Access Blacklist).
const blacklistFile = "access.blacklist"

// maxBlacklist bounds that file, in bytes.
const maxBlacklist = 16 << 20

// blacklist is what a node neither reads nor writes, though it has the capability. It
// is read again whenever the file has changed.
type blacklist struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	read    time.Time // when the file had changed last; zero for none
	size    int64
	reasons map[grid.StorageIndex]string
}

// permit is nil unless the list has what a capability names. A list that is there and
// can't be read forbids all.
func (b *blacklist) permit(c file.Capability) error {
	index, ok := file.StorageIndexOf(c)
	if !ok {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return fmt.Errorf("%w: the list of what is prohibited can't be read: %w", ErrProhibited, err)
	}
	reason, listed := b.reasons[index]
	if !listed {
		return nil
	}
	b.log.Info("access prohibited", "storage-index", index.String(), "reason", reason)
	return fmt.Errorf("%w: %s", ErrProhibited, reason)
}

func (b *blacklist) refresh() error {
	info, err := os.Stat(b.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b.read, b.size, b.reasons = time.Time{}, 0, nil
		return nil
	case err != nil:
		return err
	case info.ModTime().Equal(b.read) && info.Size() == b.size:
		return nil
	case info.Size() > maxBlacklist:
		return fmt.Errorf("%d bytes (want at most %d)", info.Size(), maxBlacklist)
	}
	reasons, err := b.parse()
	if err != nil {
		return err
	}
	b.read, b.size, b.reasons = info.ModTime(), info.Size(), reasons
	return nil
}

// parse reads the file. A line that names no file is said in the log, and prohibits
// nothing.
func (b *blacklist) parse() (map[grid.StorageIndex]string, error) {
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	reasons := map[grid.StorageIndex]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fields := strings.Fields(text)
		index, err := grid.ParseStorageIndex(fields[0])
		if err != nil {
			b.log.Error("a line of access.blacklist prohibits nothing", "line", n, "error", err)
			continue
		}
		reasons[index] = strings.Join(fields[1:], " ")
		if reasons[index] == "" {
			reasons[index] = "no reason is given"
		}
	}
	return reasons, lines.Err()
}
