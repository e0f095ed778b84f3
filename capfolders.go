package tarn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// capFolders are where a role keeps the caps by which it acts for others: a folder
// for each owner. Beside his caps is what is cached of introducers and account
// managers.
type capFolders struct {
	node    nodeFolder
	config  Config // of the node
	dir     string
	account lease.Account // of the role
	dialer  transport.Dialer
}

func (f nodeFolder) capFolders(role string, c Config, account lease.Account, dialer transport.Dialer) capFolders {
	return capFolders{node: f, config: c, dir: f.private(role), account: account, dialer: dialer}
}

// folder of an owner.
func (f capFolders) folder(name string) string { return filepath.Join(f.dir, fileNameOf(name)) }

// openAll opens the folder of each owner. One in which open finds no cap is what a
// crash left of one that was being removed.
func openAll[T any](f capFolders, open func(dir string) (kept T, found bool, err error)) ([]T, error) {
	folders, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []T
	for _, folder := range folders {
		dir := filepath.Join(f.dir, folder.Name())
		kept, found, err := open(dir)
		if err == nil && found {
			all = append(all, kept)
		} else if err == nil {
			err = os.RemoveAll(dir)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// capFormat is the version of a cap's file.
const capFormat = 1

// capRecord is a cap in its file.
type capRecord struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Added  int64  `json:"added"`
	Cap    []byte `json:"cap"` // its text
}

// readCap reads a cap's file, whose text has at most so many bytes: here it is in
// base64.
func readCap(path string, most int64) (r capRecord, err error) {
	if err := readRecordUpTo(path, most*4/3+1<<20, &r); err != nil {
		return r, err
	}
	if r.Format != capFormat {
		return r, fmt.Errorf("%s: format %d (this program knows format %d)", path, r.Format, capFormat)
	}
	return r, nil
}

func writeCap(path, name string, added time.Time, text []byte) error {
	return writeRecord(path, capRecord{capFormat, name, added.Unix(), text})
}

// connections reach servers for an owner, by what his caps let be done. Where
// servers and account managers are, the caps say besides the node's own settings.
func (f capFolders) connections(dir string, authority lease.Authority, introducers, managers []lease.Place) client.Config {
	c := client.Config{Dialer: f.dialer, Rules: f.config.rules(), Overrides: f.node.overrides(), Authority: authority}
	for _, ref := range withIntroducers(f.config.Introducers, introducers) {
		c.Introducers = append(c.Introducers, client.Introducer{Target: f.config.target(ref), Cache: f.config.cacheIn(dir, ref)})
	}
	for _, m := range managers {
		c.Memberships = append(c.Memberships, client.Membership{
			Manager: f.config.target(IntroducerRef{m.Server, m.Hints}), Guest: true,
			Store: membershipFile{filepath.Join(dir, "manager-"+m.Server.Short()+".json")},
		})
	}
	return c
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

// checkOwnerName keeps names fit for tables.
func checkOwnerName(name string) error {
	if strings.TrimSpace(name) == "" || len(name) > maxOwnerName {
		return fmt.Errorf("%w: a name of %d bytes (want 1 to %d)", ErrRenewalName, len(name), maxOwnerName)
	}
	return nil
}

const maxOwnerName = 64
