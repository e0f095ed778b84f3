package lease_test

import (
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Leases that were made at one moment become due over some days, each when
// there is still half of its time left or more.
func TestDueIsSpreadOut(t *testing.T) {
	const day = 86400
	made := epoch.Unix()
	first, last := int64(1<<62), int64(0)
	for i := range 256 {
		l := lease.JournalLease{Share: lease.ShareID{StorageIndex: grid.StorageIndex{15: byte(i)}}, Renewed: made, Expires: made + 31*day}
		at := made
		for !l.Due(at) {
			at += 3600
		}
		first, last = min(first, at), max(last, at)
		if l.Lapsed = at; l.Due(made + 31*day) {
			t.Error("a lease that has lapsed is to be renewed")
		}
	}
	if first < made+11*day || last > made+15*day+day/2+3600 || last-first < 3*day {
		t.Errorf("due from day %d to day %d", (first-made)/day, (last-made)/day)
	}
	if !(lease.JournalLease{Renewed: made}).Due(made) {
		t.Error("a lease of unknown end is not due")
	}
}
