package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tarn-grid/tarn/lease"
)

// filling is a disk that is full while it has to be: the table's log can be
// written as long as the ballast is not there.
type filling struct {
	vfs.FS
	dir  string
	full atomic.Bool
}

func newFilling(t *testing.T) *filling {
	d := &filling{dir: t.TempDir()}
	d.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		write := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpCreate
		if write && d.full.Load() && strings.Contains(op.Path, "table") && d.ballast() {
			return syscall.ENOSPC
		}
		return nil
	}))
	return d
}

func (d *filling) ballast() bool {
	info, err := os.Stat(filepath.Join(d.dir, "ballast"))
	return err == nil && info.Size() == ballastSize
}

// GetDiskUsage implements vfs.FS.
func (d *filling) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if d.full.Load() {
		return vfs.DiskUsage{TotalBytes: 1 << 30}, nil
	}
	return vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1 << 29}, nil
}

// A full disk takes no new share. Those that are there can be read, leases can
// be renewed and given up, the bytes of what has none be deleted; and when there
// is room again all is as before.
func TestFullDiskStillServes(t *testing.T) {
	d := newFilling(t)
	s := serve(t, mustOpen(t, d, d.dir))
	if !d.ballast() {
		t.Fatal("there is no ballast")
	}
	s.addRoot(1, 1<<30)
	small, large := testShare(1), testShare(2)
	s.put(own(1), small, content(10))
	s.put(own(1), large, content(SmallShare+1))
	before, err := s.Free()
	must(t, err)

	d.full.Store(true)
	late := start.Add(lease.LeaseDuration / 2)
	change, results, err := s.ledger.RenewLeases(late, own(1), []lease.ShareID{small, large})
	s.apply(change, err)
	if results[0].Err != nil || results[1].Err != nil {
		t.Errorf("renewed: %+v", results)
	}
	if d.ballast() {
		t.Error("the ballast is still there")
	}
	for range 100 {
		if free, err := s.Free(); free != 0 || err != nil {
			t.Fatalf("%d bytes are free on a full disk (%v)", free, err)
		}
	}
	s.wantContent(small, content(10))
	s.wantContent(large, content(SmallShare+1))
	change, _, going, err := s.ledger.CancelLeases(late, own(1), []lease.ShareID{large})
	s.apply(change, err)
	mustDelete(t, s.Store, going[0])
	s.apply(s.ledger.Gone(going[0]))
	s.wantConsistent()

	d.full.Store(false)
	if free, err := s.Free(); free != before-ballastSize || !d.ballast() || err != nil {
		t.Errorf("%d bytes are free, ballast %v (%v)", free, d.ballast(), err)
	}
	s.put(own(1), large, content(SmallShare+1))
	must(t, s.Close())
	s = serve(t, mustOpen(t, d, d.dir))
	s.wantContent(large, content(SmallShare+1))
	s.wantConsistent()
	if left := s.check(false); len(left) > 0 {
		t.Errorf("not in order: %q", left)
	}
}
