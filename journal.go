package tarn

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

var _ client.Journal = (*store.Journal)(nil)

// openJournal opens the list of what this client stored, and takes over that
// of a node which kept it as lines of text.
func (f nodeFolder) openJournal() (*store.Journal, error) {
	dir := f.private("journal")
	j, err := store.OpenJournal(dir, store.Options{})
	if errors.Is(err, store.ErrDamaged) {
		return nil, fmt.Errorf("%w (move %s away; tarn reconcile --fix then fills a new one from what the servers have)", err, dir)
	}
	if err != nil {
		return nil, err
	}
	if err := importLines(j, f.private("journal.jsonl")); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// journalLine is one line of the older form.
type journalLine struct {
	Time      time.Time           `json:"time"`
	VerifyCap string              `json:"verify-cap"`
	Size      int64               `json:"size"`
	Shares    map[string][]string `json:"shares"`   // share number -> servers
	Accounts  map[string]string   `json:"accounts"` // server -> account key there
}

// importLines adds what the file has, if there is one, and removes it. A last
// line that a crash left unfinished was never acknowledged.
func importLines(j *store.Journal, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the older journal: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return os.Remove(path)
		}
		if err == nil {
			err = importLine(j, line)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w (move the line away to go on without it)", path, n, err)
		}
	}
}

func importLine(j *store.Journal, text []byte) error {
	var line journalLine
	if err := json.Unmarshal(text, &line); err != nil {
		return err
	}
	c, err := file.Parse(line.VerifyCap)
	if err != nil {
		return err
	}
	v, ok := c.(file.CHKVerifier)
	if !ok {
		return fmt.Errorf("%w: %s", ErrCap, c.Kind())
	}
	leases, err := line.leases(v.StorageIndex)
	if err != nil {
		return err
	}
	stored := lease.JournalFile{StorageIndex: v.StorageIndex, VerifyCap: line.VerifyCap, Size: line.Size, Stored: line.Time.Unix()}
	return j.Add(stored, leases)
}

func (l *journalLine) leases(si grid.StorageIndex) ([]lease.PlacedLease, error) {
	var all []lease.PlacedLease
	for number, servers := range l.Shares {
		num, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			return nil, err
		}
		for _, text := range servers {
			server, err := grid.ParseServerID(text)
			if err != nil {
				return nil, err
			}
			held := lease.JournalLease{Share: lease.ShareID{StorageIndex: si, Num: grid.ShareNum(num)}, Renewed: l.Time.Unix()}
			if label, err := grid.ParsePublicKey(l.Accounts[text]); err == nil {
				held.Label = label
			}
			all = append(all, lease.PlacedLease{Server: server, JournalLease: held})
		}
	}
	return all, nil
}
