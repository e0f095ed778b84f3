package tarn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
)

// renewalFiles implements renewer.Store with a folder for each cap: the cap
// itself, which is all that is needed; and a journal, made from it, that also
// knows when each lease ends. All methods are safe from any goroutine.
type renewalFiles struct {
	capFolders

	mu   sync.Mutex
	open map[string]*renewalJournal // by name
}

var _ renewer.Store = (*renewalFiles)(nil)

const (
	capFile = "cap"
	// adoptedAtOnce is how many leases are written into a journal at a time.
	adoptedAtOnce = 10_000
)

func (f nodeFolder) renewalFiles(c Config, account lease.Account, dialer transport.Dialer) *renewalFiles {
	return &renewalFiles{capFolders: f.capFolders("renewer", c, account, dialer), open: map[string]*renewalJournal{}}
}

// Load implements renewer.Store.
func (f *renewalFiles) Load() ([]renewer.Kept, error) {
	if err := f.close(); err != nil {
		return nil, err
	}
	return openAll(f.capFolders, f.load)
}

func (f *renewalFiles) load(dir string) (kept renewer.Kept, found bool, err error) {
	r, err := readCap(filepath.Join(dir, capFile), lease.MaxRenewalCapSize)
	if errors.Is(err, fs.ErrNotExist) {
		return kept, false, nil
	}
	if err != nil {
		return kept, false, err
	}
	c, err := lease.ReadRenewalCap(bytes.NewReader(r.Cap))
	if err != nil {
		return kept, false, fmt.Errorf("%s, the renewal cap of %s: %w (move the folder away to go on without it)", dir, r.Name, err)
	}
	kept, err = f.kept(dir, r.Name, unix(r.Added), c)
	return kept, true, err
}

// kept opens what belongs to a cap.
func (f *renewalFiles) kept(dir, name string, added time.Time, c lease.RenewalCap) (renewer.Kept, error) {
	authority, err := c.Authority(f.account)
	if err != nil {
		return renewer.Kept{}, fmt.Errorf("%s, the renewal cap of %s: %w", dir, name, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "references"), 0o700); err != nil {
		return renewer.Kept{}, err
	}
	j, err := openListed(dir, c)
	if err != nil {
		return renewer.Kept{}, fmt.Errorf("the leases of %s: %w", name, err)
	}
	guarded := &renewalJournal{journal: j}
	f.mu.Lock()
	f.open[name] = guarded
	f.mu.Unlock()
	connections := f.connections(dir, authority, c.Introducers, c.Managers)
	connections.Journal, connections.References = guarded, references{filepath.Join(dir, "references")}
	c.Held = nil
	return renewer.Kept{Name: name, Added: added, Cap: c, Connections: connections}, nil
}

// Save implements renewer.Store. The older journal goes before the newer cap comes,
// and one that does not list all of its cap is made anew: so a crash leaves the
// older cap or the newer one, whole.
func (f *renewalFiles) Save(name string, c lease.RenewalCap) (renewer.Kept, error) {
	if err := f.closeOne(name); err != nil {
		return renewer.Kept{}, err
	}
	text, err := c.Text()
	if err != nil {
		return renewer.Kept{}, err
	}
	dir := f.folder(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return renewer.Kept{}, err
	}
	if err := os.RemoveAll(journalOf(dir)); err != nil {
		return renewer.Kept{}, err
	}
	added := time.Now().Truncate(time.Second)
	if err := writeCap(filepath.Join(dir, capFile), name, added, text); err != nil {
		return renewer.Kept{}, err
	}
	if err := syncDir(f.dir); err != nil {
		return renewer.Kept{}, err
	}
	return f.kept(dir, name, added, c)
}

func journalOf(dir string) string { return filepath.Join(dir, "journal") }

// openListed opens the journal of a cap, or makes it anew where it is not
// complete, or can't be read: then each lease is due, and its server says when it
// ends.
func openListed(dir string, c lease.RenewalCap) (*store.Journal, error) {
	path := journalOf(dir)
	j, err := store.OpenJournal(path, store.Options{})
	switch {
	case errors.Is(err, store.ErrLocked), errors.Is(err, store.ErrNewer):
		return nil, err
	case err == nil:
		if complete, err := lists(j, c); complete || err != nil {
			return j, err
		}
		if err := j.Close(); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return nil, err
	}
	if j, err = store.OpenJournal(path, store.Options{}); err != nil {
		return nil, err
	}
	if err := list(j, c); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// lists reports whether a journal has as many leases as the cap: none ever leaves
// it.
func lists(j *store.Journal, c lease.RenewalCap) (bool, error) {
	servers, err := j.Servers()
	n := int64(0)
	for _, s := range servers {
		n += s.Leases
	}
	return n == int64(c.Leases()), err
}

// list writes the leases of a cap into an empty journal.
func list(j *store.Journal, c lease.RenewalCap) error {
	for _, h := range c.Held {
		for part := range slices.Chunk(h.Shares, adoptedAtOnce) {
			leases := make([]lease.JournalLease, len(part))
			for i, id := range part {
				leases[i] = lease.JournalLease{Share: id, Label: h.Label}
			}
			if err := j.Adopt(h.Server, leases); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove implements renewer.Store.
func (f *renewalFiles) Remove(name string) error {
	err := f.closeOne(name)
	dir := f.folder(name)
	if err == nil {
		err = os.Remove(filepath.Join(dir, capFile))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	return err
}

// use does something with the journal of a cap. Errors: errCapGone.
func (f *renewalFiles) use(name string, do func(*store.Journal) error) error {
	f.mu.Lock()
	j := f.open[name]
	f.mu.Unlock()
	if j == nil {
		return errCapGone
	}
	return j.use(do)
}

// counts is how many files a cap is for, and how many leases where.
func (f *renewalFiles) counts(name string) (files int64, servers []lease.JournalServer, err error) {
	err = f.use(name, func(j *store.Journal) (err error) {
		if files, err = j.Files(); err == nil {
			servers, err = j.Servers()
		}
		return err
	})
	return files, servers, err
}

func (f *renewalFiles) closeOne(name string) error {
	f.mu.Lock()
	j := f.open[name]
	delete(f.open, name)
	f.mu.Unlock()
	if j == nil {
		return nil
	}
	return j.close()
}

// close closes all journals.
func (f *renewalFiles) close() error {
	f.mu.Lock()
	names := sortedKeys(f.open)
	f.mu.Unlock()
	var err error
	for _, name := range names {
		err = errors.Join(err, f.closeOne(name))
	}
	return err
}

// renewalJournal implements client.Journal with one that may be closed while a
// branch that was stopped still works on it.
type renewalJournal struct {
	mu      sync.RWMutex
	journal *store.Journal // nil once it is closed
}

var _ client.Journal = (*renewalJournal)(nil)

// errCapGone is what a branch hears whose cap was replaced or removed.
var errCapGone = errors.New("the renewal cap was replaced or removed")

func (r *renewalJournal) use(do func(*store.Journal) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.journal == nil {
		return errCapGone
	}
	return do(r.journal)
}

func (r *renewalJournal) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal == nil {
		return nil
	}
	j := r.journal
	r.journal = nil
	return j.Close()
}

// Add implements client.Journal.
func (r *renewalJournal) Add(f lease.JournalFile, leases []lease.PlacedLease) error {
	return r.use(func(j *store.Journal) error { return j.Add(f, leases) })
}

// SetLeases implements client.Journal.
func (r *renewalJournal) SetLeases(server grid.ServerID, leases []lease.JournalLease) error {
	return r.use(func(j *store.Journal) error { return j.SetLeases(server, leases) })
}

// LeasesAfter implements client.Journal.
func (r *renewalJournal) LeasesAfter(server grid.ServerID, share *lease.ShareID, limit int) (leases []lease.JournalLease, more bool, err error) {
	err = r.use(func(j *store.Journal) (err error) {
		leases, more, err = j.LeasesAfter(server, share, limit)
		return err
	})
	return leases, more, err
}
