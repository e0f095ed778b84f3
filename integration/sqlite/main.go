// Command sqlite puts the same leases into a server's lease table and into
// SQLite, one after the other, and shows what each takes: a module of its own,
// so that Tarn does not depend on SQLite.
//
//	go -C integration/sqlite run . -leases 200000
//
// Every lease is that of one of a thousand accounts which one root has signed
// for, on a share of its own without bytes. Both make them durable in groups,
// count bytes and leases per account, root and pair, find leases by account and
// by share, and end them in steps as a server's collector does. Pebble is used
// through the ledger, which checks quotas and permissions meanwhile; SQLite (a
// write-ahead log, synchronous=FULL) is given bare rows, and the sums of a group
// at once.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/tarn-grid/tarn/lease"
)

const (
	accounts = 1000
	// step is how many leases one step of the expiry looks at.
	step  = 2000
	asked = 10_000 // usage queries
)

var made = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// table is one of the two.
type table interface {
	// add makes leases from first up to, not including, end, durably.
	add(first, end int) error
	// usage is what an account holds.
	usage(account int) (lease.Counter, error)
	// expire ends what has expired by now, in steps, each durable before the
	// next, and says how much that was.
	expire(now time.Time) (int, error)
	close() error
}

// figures are what one table took.
type figures struct {
	made, ended float64 // leases a second
	size        float64 // bytes on the disk per lease
	usage       time.Duration
}

func main() {
	leases := flag.Int("leases", 200_000, "how many leases")
	group := flag.Int("group", 1000, "how many are made durable together")
	flag.Parse()
	if err := compare(*leases, *group); err != nil {
		fmt.Fprintln(os.Stderr, "sqlite:", err)
		os.Exit(1)
	}
}

func compare(leases, group int) error {
	if leases < accounts || group < 1 {
		return fmt.Errorf("at least %d leases are needed, in groups of at least one", accounts)
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(out, "%d leases\tmade, in groups of %d\tbytes per lease\tusage of an account\tended\n", leases, group)
	for _, t := range []struct {
		name string
		open func(dir string) (table, error)
	}{{"Pebble, lease/store", openPebble}, {"SQLite", openSQLite}} {
		f, err := measure(t.open, leases, group)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		fmt.Fprintf(out, "%s\t%.0f/s\t%.0f\t%v\t%.0f/s\n", t.name, f.made, f.size, f.usage, f.ended)
	}
	return out.Flush()
}

// measure fills a table in a new folder, asks it, and empties it.
func measure(open func(dir string) (table, error), leases, group int) (f figures, err error) {
	dir, err := os.MkdirTemp("", "tarn-leases-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	t, err := open(dir)
	if err != nil {
		return f, err
	}
	took, err := timed(func() error { return fill(t, leases, group) })
	if err != nil {
		return f, err
	}
	f.made = float64(leases) / took.Seconds()
	if took, err = timed(func() error { return ask(t, leases) }); err != nil {
		return f, err
	}
	f.usage = took / asked
	if err := t.close(); err != nil {
		return f, err
	}
	if f.size, err = sizeOf(dir); err != nil {
		return f, err
	}
	f.size /= float64(leases)
	if t, err = open(dir); err != nil {
		return f, err
	}
	ended := 0
	took, err = timed(func() error { ended, err = t.expire(made.Add(lease.LeaseDuration)); return err })
	if err == nil && ended != leases {
		err = fmt.Errorf("%d of %d leases ended", ended, leases)
	}
	f.ended = float64(leases) / took.Seconds()
	if err != nil {
		return f, err
	}
	return f, t.close()
}

func timed(what func() error) (time.Duration, error) {
	begin := time.Now()
	err := what()
	return time.Since(begin), err
}

func fill(t table, leases, group int) error {
	for first := 0; first < leases; first += group {
		if err := t.add(first, min(first+group, leases)); err != nil {
			return err
		}
	}
	return nil
}

// ask asks for the usage of all accounts in turn, and checks the answers.
func ask(t table, leases int) error {
	for i := range asked {
		c, err := t.usage(i % accounts)
		if err != nil {
			return err
		}
		want := int64((leases - i%accounts + accounts - 1) / accounts)
		if c.Leases != want || c.Bytes < want*lease.LeaseOverhead { // and its chain, in the one
			return fmt.Errorf("account %d holds %+v, and not %d leases", i%accounts, c, want)
		}
	}
	return nil
}

// sizeOf is what the files of a closed table take, but for the room that a
// server keeps for a full disk.
func sizeOf(dir string) (size float64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "ballast" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += float64(info.Size())
		}
		return err
	})
	return size, err
}

// shareOf spreads storage indexes as hashes do.
func shareOf(n int) (id lease.ShareID) {
	binary.BigEndian.PutUint64(id.StorageIndex[:], uint64(n+1)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id.StorageIndex[8:], uint64(n+1)*0xbf58476d1ce4e5b9)
	return id
}
