package tarn

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
// itself, which is all that is needed; a journal, made from it, that also knows
// when each lease ends; and what is cached of introducers, servers and account
// managers. All methods are safe from any goroutine.
type renewalFiles struct {
	node    nodeFolder
	config  Config // of the node
	dir     string
	account lease.Account
	dialer  transport.Dialer

	mu   sync.Mutex
	open map[string]*renewalJournal // by name
}

var _ renewer.Store = (*renewalFiles)(nil)

const (
	capFile       = "cap"
	renewalFormat = 1
	// maxRenewalFile bounds a cap's file, in bytes: its text once more in base64.
	maxRenewalFile = lease.MaxRenewalCapSize*4/3 + 1<<20
	// adoptedAtOnce is how many leases are written into a journal at a time.
	adoptedAtOnce = 10_000
)

type renewalRecord struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Added  int64  `json:"added"`
	Cap    []byte `json:"cap"` // its text
}

func (f nodeFolder) renewalFiles(c Config, account lease.Account, dialer transport.Dialer) *renewalFiles {
	return &renewalFiles{
		node: f, config: c, dir: f.private("renewer"), account: account, dialer: dialer, open: map[string]*renewalJournal{},
	}
}

// folder of a cap: its name may have characters that a file's can't have.
func (f *renewalFiles) folder(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(f.dir, grid.EncodeBase32(sum[:20]))
}

// Load implements renewer.Store. A folder without a cap is what a crash left of
// one that was being removed.
func (f *renewalFiles) Load() ([]renewer.Kept, error) {
	if err := f.close(); err != nil {
		return nil, err
	}
	folders, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []renewer.Kept
	for _, folder := range folders {
		dir := filepath.Join(f.dir, folder.Name())
		var r renewalRecord
		err := readRecordUpTo(filepath.Join(dir, capFile), maxRenewalFile, &r)
		if errors.Is(err, fs.ErrNotExist) {
			err = os.RemoveAll(dir)
		} else if err == nil {
			var kept renewer.Kept
			kept, err = f.load(dir, r)
			all = append(all, kept)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (f *renewalFiles) load(dir string, r renewalRecord) (renewer.Kept, error) {
	if r.Format != renewalFormat {
		return renewer.Kept{}, fmt.Errorf("%s: format %d (this program knows format %d)", dir, r.Format, renewalFormat)
	}
	c, err := lease.ReadRenewalCap(bytes.NewReader(r.Cap))
	if err != nil {
		return renewer.Kept{}, fmt.Errorf("%s, the renewal cap of %s: %w (move the folder away to go on without it)", dir, r.Name, err)
	}
	return f.kept(dir, r, c)
}

// kept opens what belongs to a cap.
func (f *renewalFiles) kept(dir string, r renewalRecord, c lease.RenewalCap) (renewer.Kept, error) {
	authority, err := c.Authority(f.account)
	if err != nil {
		return renewer.Kept{}, fmt.Errorf("%s, the renewal cap of %s: %w", dir, r.Name, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "references"), 0o700); err != nil {
		return renewer.Kept{}, err
	}
	j, err := openListed(dir, c)
	if err != nil {
		return renewer.Kept{}, fmt.Errorf("the leases of %s: %w", r.Name, err)
	}
	guarded := &renewalJournal{journal: j}
	f.mu.Lock()
	f.open[r.Name] = guarded
	f.mu.Unlock()
	connections := client.Config{
		Dialer: f.dialer, Rules: f.config.rules(), Overrides: f.node.overrides(), Authority: authority, Journal: guarded, References: references{filepath.Join(dir, "references")},
	}
	for _, ref := range withIntroducers(f.config.Introducers, c.Introducers) {
		connections.Introducers = append(connections.Introducers, client.Introducer{Target: f.config.target(ref), Cache: f.config.cacheIn(dir, ref)})
	}
	for _, m := range c.Managers {
		connections.Memberships = append(connections.Memberships, f.config.guestOf(dir, m))
	}
	c.Held = nil
	return renewer.Kept{Name: r.Name, Added: unix(r.Added), Cap: c, Connections: connections}, nil
}

// withIntroducers adds those that are not among refs.
func withIntroducers(refs []IntroducerRef, more []lease.Place) []IntroducerRef {
	all := slices.Clone(refs)
	for _, p := range more {
		if !slices.ContainsFunc(all, func(r IntroducerRef) bool { return r.Server == p.Server }) {
			all = append(all, IntroducerRef{p.Server, p.Hints})
		}
	}
	return all
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
	r := renewalRecord{renewalFormat, name, time.Now().Unix(), text}
	if err := writeRecord(filepath.Join(dir, capFile), r); err != nil {
		return renewer.Kept{}, err
	}
	if err := syncDir(f.dir); err != nil {
		return renewer.Kept{}, err
	}
	return f.kept(dir, r, c)
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

// checkRenewalName keeps names fit for tables.
func checkRenewalName(name string) error {
	if strings.TrimSpace(name) == "" || len(name) > maxRenewalName {
		return fmt.Errorf("%w: a name of %d bytes (want 1 to %d)", ErrRenewalName, len(name), maxRenewalName)
	}
	return nil
}

const maxRenewalName = 64
