package control_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

func leaseNode() *memnode.Node {
	when := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := lease.ShareID{StorageIndex: grid.StorageIndex{7}, Num: 3}
	return &memnode.Node{Journal: memnode.Journal{
		Leases: tarn.Leases{Files: 2, Servers: []tarn.ServerLeases{{Nickname: "s1", Leases: 3, Lapsed: 1, Checked: when, Err: lease.ErrNoSuchRoot}}},
		Files: []tarn.LeasedFile{
			{StorageIndex: grid.StorageIndex{7}, VerifyCap: "URI:x", Size: 5, Needed: 3, Held: 4, Shares: []tarn.LeasedShare{{Num: 3, Expires: when}}},
			{StorageIndex: grid.StorageIndex{8}, Shares: []tarn.LeasedShare{{Num: 1, Lapsed: when}}},
		},
		Differences: []tarn.LeaseDifference{{Nickname: "s1", Kind: lease.Unknown, Share: id, Expires: when, Mended: "noted"}},
		Servers:     []tarn.Reconciliation{{Nickname: "s1", There: 1, Unknown: 1, Mended: 1}, {Nickname: "s2", Err: lease.ErrAuthorityRevoked}},
		Usage: tarn.GridUsage{
			Bytes: 9, Servers: []tarn.AccountUsage{{Bytes: 9, Delegated: []tarn.DelegatedUsage{{Bytes: 4}}}},
			Failed: []tarn.ServerError{{Nickname: "s2", Err: lease.ErrNoSuchRoot}}, Below: []tarn.DelegatedUsage{{Bytes: 4}},
		},
	}}
}

func TestLeasesOverTheSocket(t *testing.T) {
	node := leaseNode()
	c := start(t, node, t.TempDir())
	l, err := c.Leases(t.Context())
	if err != nil || l.Files != 2 || len(l.Servers) != 1 || l.Servers[0].Lapsed != 1 || l.Servers[0].Error != lease.ErrNoSuchRoot.Error() {
		t.Errorf("leases %+v, %v", l, err)
	}
	if l, err = c.RenewLeases(t.Context()); err != nil || l.Files != 2 || node.Journal.Renewals != 1 {
		t.Errorf("renewed %d times: %+v, %v", node.Journal.Renewals, l, err)
	}
	for all, want := range map[bool]int{true: 2, false: 1} {
		var files []control.LeasedFile
		err := c.LeasedFiles(t.Context(), all, func(f control.LeasedFile) error { files = append(files, f); return nil })
		if err != nil || len(files) != want || files[want-1].StorageIndex != (grid.StorageIndex{8}).String() || files[want-1].Shares[0].Number != 1 {
			t.Errorf("files (all: %v) %+v, %v", all, files, err)
		}
	}
	u, err := c.GridUsage(t.Context())
	if err != nil || u.Bytes != 9 || len(u.Servers) != 1 || u.Servers[0].Delegated[0].Bytes != 4 || len(u.Failed) != 1 || len(u.Below) != 1 {
		t.Errorf("usage %+v, %v", u, err)
	}
	const literal = "URI:LIT:nbswy3dp"
	for what, do := range map[string]func() ([]control.FileLeases, error){
		"give up": func() ([]control.FileLeases, error) { return c.GiveUp(t.Context(), literal) },
		"keep":    func() ([]control.FileLeases, error) { return c.Keep(t.Context(), literal) },
	} {
		list, err := do()
		if err != nil || len(list) != 2 || list[0].Leases != 1 || list[1].Error == "" {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
	}
	if len(node.Journal.Given) != 1 || len(node.Journal.Kept) != 1 {
		t.Errorf("arrived: %v, %v", node.Journal.Given, node.Journal.Kept)
	}
	if _, err := c.GiveUp(t.Context(), "nonsense"); !errors.Is(err, tarn.ErrCap) {
		t.Errorf("nonsense: %v", err)
	}
}

func TestReconcileOverTheSocket(t *testing.T) {
	node := leaseNode()
	c := start(t, node, t.TempDir())
	var found []control.LeaseDifference
	see := func(d control.LeaseDifference) error { found = append(found, d); return nil }
	servers, err := c.Reconcile(t.Context(), true, true, see)
	if err != nil || len(servers) != 2 || servers[0].Unknown != 1 || servers[1].Error == "" {
		t.Errorf("servers %+v, %v", servers, err)
	}
	if len(found) != 1 || found[0].Kind != "unknown" || found[0].Number != 3 || found[0].Mended != "noted" {
		t.Errorf("found %+v", found)
	}
	if o := node.Journal.Options; !o.Fix || !o.CancelUnknown {
		t.Errorf("options arrived as %+v", o)
	}
	enough := errors.New("enough")
	if _, err := c.Reconcile(t.Context(), false, false, func(control.LeaseDifference) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("broken off: %v", err)
	}
	// A failure after some lines is a failure.
	node.Journal.Error = tarn.ErrClosed
	if _, err := c.Reconcile(t.Context(), false, false, see); !errors.Is(err, tarn.ErrClosed) {
		t.Errorf("the node's error: %v", err)
	}
	if err := c.LeasedFiles(t.Context(), true, func(control.LeasedFile) error { return nil }); !errors.Is(err, tarn.ErrClosed) {
		t.Errorf("the node's error: %v", err)
	}
}
