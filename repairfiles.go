package tarn

import (
	"bytes"
	"cmp"
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

// repairFiles implements repairer.Store with two files for each file of an owner,
// in his folder: the cap, which is all that is needed, and what was found, which is
// found again where it is lost.
type repairFiles struct{ capFolders }

var _ repairer.Store = (*repairFiles)(nil)

const (
	capSuffix   = ".cap"
	foundSuffix = ".found"
)

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
	return &repairFiles{f.capFolders("repairer", c, account, dialer)}
}

// Load implements repairer.Store.
func (f *repairFiles) Load() ([]repairer.Owner, error) {
	return openAll(f.capFolders, func(dir string) (repairer.Owner, bool, error) {
		o, err := f.owner(dir)
		return o, len(o.Files) > 0, err
	})
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
			return repairer.Owner{}, fmt.Errorf("%w (move the file away to go on without it)", err)
		}
		o.Name = name
		o.Files = append(o.Files, file)
	}
	slices.SortFunc(o.Files, func(a, b repairer.File) int {
		return bytes.Compare(a.Verifier.StorageIndex[:], b.Verifier.StorageIndex[:])
	})
	o.Connections = f.connectionsFor(dir, o.Files)
	return o, nil
}

// file opens a cap, and what was found of its file, as far as that can be read.
func (f *repairFiles) file(path string) (name string, file repairer.File, err error) {
	r, err := readCap(path, lease.MaxRepairCapSize)
	if err != nil {
		return "", file, err
	}
	caps, err := lease.ReadRepairCaps(bytes.NewReader(r.Cap))
	if err == nil {
		file, err = watchedFile(caps[0], f.account)
	}
	if err != nil {
		return "", file, fmt.Errorf("%s: %w", path, err)
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

// connectionsFor reach servers under the certificates of one file at a time. All of
// them are there, so that newer cards are fetched for them.
func (f *repairFiles) connectionsFor(dir string, files []repairer.File) client.Config {
	var all lease.Authority
	var introducers, managers []lease.Place
	for _, file := range files {
		all.Holdings = append(all.Holdings, file.Authority.Holdings...)
		introducers, managers = withPlaces(introducers, file.Cap.Introducers), withPlaces(managers, file.Cap.Managers)
	}
	c := f.connections(dir, all, introducers, managers)
	c.OnlyLent, c.References = true, newHelperReferences()
	return c
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
		if err := writeCap(f.path(dir, file.Verifier.StorageIndex, capSuffix), name, file.Added, text); err != nil {
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
