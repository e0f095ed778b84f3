package tarn

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// repairFiles implements repairer.Store with a folder for each owner, and in that
// two files for each of his: the cap, which is all that is needed, and what was
// found, which is found again where it is lost. Beside them is what is cached of
// introducers and account managers.
type repairFiles struct {
	node    nodeFolder
	config  Config // of the node
	dir     string
	account lease.Account
	dialer  transport.Dialer
}

var _ repairer.Store = (*repairFiles)(nil)

const (
	repairFormat = 1
	capSuffix    = ".cap"
	foundSuffix  = ".found"
	// maxRepairFile bounds a cap's file, in bytes: its text once more in base64.
	maxRepairFile = lease.MaxRepairCapSize*4/3 + 1<<20
)

type repairRecord struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Added  int64  `json:"added"`
	Cap    []byte `json:"cap"` // its text
}

type stateRecord struct {
	Checked     int64  `json:"checked"`
	Verified    int64  `json:"verified"`
	Repaired    int64  `json:"repaired"`
	Next        int64  `json:"next"`
	Shares      int    `json:"shares"`
	Happiness   int    `json:"happiness"`
	Summary     string `json:"summary"`
	Healthy     bool   `json:"healthy"`
	Recoverable bool   `json:"recoverable"`
	Lost        int    `json:"lost"`
	Pushed      int    `json:"pushed"`
	Trouble     string `json:"trouble"`
}

func (f nodeFolder) repairFiles(c Config, account lease.Account, dialer transport.Dialer) *repairFiles {
	return &repairFiles{node: f, config: c, dir: f.private("repairer"), account: account, dialer: dialer}
}

// folder of an owner: his name may have characters that a file's can't have.
func (f *repairFiles) folder(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(f.dir, grid.EncodeBase32(sum[:20]))
}

// Load implements repairer.Store. A folder without a cap is what a crash left of
// one that was being removed.
func (f *repairFiles) Load() ([]repairer.Owner, error) {
	folders, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []repairer.Owner
	for _, folder := range folders {
		dir := filepath.Join(f.dir, folder.Name())
		o, err := f.owner(dir)
		if err != nil {
			return nil, err
		}
		if len(o.Files) > 0 {
			all = append(all, o)
		} else if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// owner opens all that is in a folder.
func (f *repairFiles) owner(dir string) (repairer.Owner, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return repairer.Owner{}, err
	}
	var o repairer.Owner
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), capSuffix) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		name, file, err := f.file(path)
		if err != nil {
			return repairer.Owner{}, fmt.Errorf("%s: %w (move the file away to go on without it)", path, err)
		}
		o.Name = name
		o.Files = append(o.Files, file)
	}
	slices.SortFunc(o.Files, func(a, b repairer.File) int {
		return bytes.Compare(a.Verifier.StorageIndex[:], b.Verifier.StorageIndex[:])
	})
	o.Connections = f.connections(dir, o.Files)
	return o, nil
}

// file opens a cap, and what was found of its file, as far as that can be read.
func (f *repairFiles) file(path string) (name string, file repairer.File, err error) {
	var r repairRecord
	if err := readRecordUpTo(path, maxRepairFile, &r); err != nil {
		return "", file, err
	}
	if r.Format != repairFormat {
		return "", file, fmt.Errorf("format %d (this program knows format %d)", r.Format, repairFormat)
	}
	caps, err := lease.ReadRepairCaps(bytes.NewReader(r.Cap))
	if err != nil {
		return "", file, err
	}
	if file, err = watchedFile(caps[0], f.account); err != nil {
		return "", file, err
	}
	file.Added = unix(r.Added)
	var s stateRecord
	if readRecord(strings.TrimSuffix(path, capSuffix)+foundSuffix, &s) == nil {
		file.State = s.state()
	}
	return r.Name, file, nil
}

func (s stateRecord) state() repairer.State {
	return repairer.State{
		Checked: unix(s.Checked), Verified: unix(s.Verified), Repaired: unix(s.Repaired), Next: unix(s.Next),
		Shares: s.Shares, Happiness: s.Happiness, Summary: s.Summary, Healthy: s.Healthy, Recoverable: s.Recoverable,
		Lost: s.Lost, Pushed: s.Pushed, Trouble: s.Trouble,
	}
}

// connections reach servers under the certificates of one file at a time. All of
// them are there, so that newer cards are fetched for them.
func (f *repairFiles) connections(dir string, files []repairer.File) client.Config {
	c := client.Config{
		Dialer: f.dialer, Rules: f.config.rules(), Overrides: f.node.overrides(), OnlyLent: true, References: newHelperReferences(),
	}
	var introducers, managers []lease.Place
	for _, file := range files {
		c.Authority.Holdings = append(c.Authority.Holdings, file.Authority.Holdings...)
		introducers, managers = withPlaces(introducers, file.Cap.Introducers), withPlaces(managers, file.Cap.Managers)
	}
	for _, ref := range withIntroducers(f.config.Introducers, introducers) {
		c.Introducers = append(c.Introducers, client.Introducer{Target: f.config.target(ref), Cache: f.config.cacheIn(dir, ref)})
	}
	for _, m := range managers {
		c.Memberships = append(c.Memberships, f.config.guestOf(dir, m))
	}
	return c
}

// guestOf has newer cards of a manager fetched for those who gave this node
// something under older ones.
func (c Config) guestOf(dir string, m lease.Place) client.Membership {
	return client.Membership{
		Manager: c.target(IntroducerRef{m.Server, m.Hints}), Guest: true,
		Store: membershipFile{filepath.Join(dir, "manager-"+m.Server.Short()+".json")},
	}
}

// withPlaces adds those that are not there.
func withPlaces(places, more []lease.Place) []lease.Place {
	for _, p := range more {
		if !slices.ContainsFunc(places, func(q lease.Place) bool { return q.Server == p.Server }) {
			places = append(places, p)
		}
	}
	return places
}

// Save implements repairer.Store.
func (f *repairFiles) Save(name string, files []repairer.File) (repairer.Owner, error) {
	dir := f.folder(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return repairer.Owner{}, err
	}
	for _, file := range files {
		text, err := file.Cap.Text()
		if err != nil {
			return repairer.Owner{}, err
		}
		r := repairRecord{repairFormat, name, file.Added.Unix(), text}
		if err := writeRecord(f.path(dir, file.Verifier.StorageIndex, capSuffix), r); err != nil {
			return repairer.Owner{}, err
		}
	}
	if err := syncDir(f.dir); err != nil {
		return repairer.Owner{}, err
	}
	return f.owner(dir)
}

func (f *repairFiles) path(dir string, si grid.StorageIndex, suffix string) string {
	return filepath.Join(dir, si.String()+suffix)
}

// Note implements repairer.Store.
func (f *repairFiles) Note(name string, file repairer.File) error {
	s := file.State
	return writeRecord(f.path(f.folder(name), file.Verifier.StorageIndex, foundSuffix), stateRecord{
		Checked: seconds(s.Checked), Verified: seconds(s.Verified), Repaired: seconds(s.Repaired), Next: seconds(s.Next),
		Shares: s.Shares, Happiness: s.Happiness, Summary: s.Summary, Healthy: s.Healthy, Recoverable: s.Recoverable,
		Lost: s.Lost, Pushed: s.Pushed, Trouble: s.Trouble,
	})
}

// seconds is what unix reads.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Remove implements repairer.Store. Caps go first: what is left without one is
// nothing.
func (f *repairFiles) Remove(name string, si *grid.StorageIndex) (repairer.Owner, error) {
	dir := f.folder(name)
	o, err := f.owner(dir)
	if err != nil {
		return repairer.Owner{}, err
	}
	for _, file := range o.Files {
		if si != nil && file.Verifier.StorageIndex != *si {
			continue
		}
		err = cmp.Or(err, os.Remove(f.path(dir, file.Verifier.StorageIndex, capSuffix)))
		if gone := os.Remove(f.path(dir, file.Verifier.StorageIndex, foundSuffix)); !errors.Is(gone, fs.ErrNotExist) {
			err = cmp.Or(err, gone)
		}
	}
	if err = cmp.Or(err, syncDir(dir)); err != nil {
		return repairer.Owner{}, err
	}
	left, err := f.owner(dir)
	if err == nil && len(left.Files) == 0 {
		err = os.RemoveAll(dir)
	}
	return left, err
}
