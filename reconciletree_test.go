package tarn_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// TestReconcileTree: what the journal has and nothing leads to, and what can be
// reached and the journal does not know, are told; and mended as far as that is
// wanted.
func TestReconcileTree(t *testing.T) {
	g := newGrid(t, 2, file.Params{Needed: 1, Happy: 2, Total: 2, SegmentSize: 1 << 20})
	const files = 50 // more than are mended at a time
	d, err := directory.New(file.Directory{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * files {
		c, err := file.Parse(g.put(random(100 + i)).Cap)
		if err != nil {
			t.Fatal(err)
		}
		if i >= files {
			continue // it is in no directory
		}
		if err := d.Set(directory.Entry{Name: fmt.Sprintf("%02d", i), Read: c}); err != nil {
			t.Fatal(err)
		}
	}
	made, err := g.client.PutDirectory(t.Context(), d, tarn.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Minute)
	var told []tarn.TreeDifference
	reconcile := func(n *tarn.Node, o tarn.ReconcileTreeOptions) tarn.TreeReconciliation {
		t.Helper()
		told = nil
		o.Found = func(d tarn.TreeDifference) error { told = append(told, d); return nil }
		r, err := n.ReconcileTree(t.Context(), []string{made.Cap, made.Cap}, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}

	whole := tarn.TreeReconciliation{Reachable: files + 1, Listed: files + 1}
	want := whole
	want.Listed, want.Unreachable, want.UnreachableBytes = 2*files+1, files, sumOf(100+files, 100+2*files)
	if r := reconcile(g.client, tarn.ReconcileTreeOptions{StoredBefore: soon}); r != want {
		t.Errorf("%+v\nwant %+v", r, want)
	}
	for _, d := range told {
		if d.Kind != tarn.Unreachable || d.Path != nil || !strings.HasPrefix(d.VerifyCap, "URI:CHK-Verifier:") || d.Size < 100+files || d.Stored.IsZero() || d.Mended != "" || d.Err != nil {
			t.Fatalf("%+v", d)
		}
	}
	if r := reconcile(g.client, tarn.ReconcileTreeOptions{StoredBefore: soon.Add(-time.Hour)}); r.Unreachable != 0 || r.Recent != files {
		t.Errorf("all is new: %+v", r)
	}
	if r := reconcile(g.client, tarn.ReconcileTreeOptions{StoredBefore: soon, Fix: true}); r != want {
		t.Errorf("mended without being asked: %+v", r)
	}
	want.Mended = files
	if r := reconcile(g.client, tarn.ReconcileTreeOptions{StoredBefore: soon, Fix: true, CancelUnreachable: true}); r != want || told[0].Mended != "given up: 2 leases" {
		t.Errorf("given up: %+v, %+v", r, told[0])
	}
	if r := reconcile(g.client, tarn.ReconcileTreeOptions{}); r != whole {
		t.Errorf("nothing differs any more: %+v", r)
	}

	other := g.another(g.account) // whose journal is empty
	want = tarn.TreeReconciliation{Reachable: files + 1, Unleased: files + 1}
	if r := reconcile(other, tarn.ReconcileTreeOptions{StoredBefore: soon}); r != want || told[0].Path != nil || !slices.Equal(told[7].Path, []string{"06"}) || told[7].Kind != tarn.Unleased {
		t.Errorf("with an empty journal: %+v, %+v", r, told)
	}
	want.Listed, want.Mended = files+1, files+1
	if r := reconcile(other, tarn.ReconcileTreeOptions{StoredBefore: soon, Fix: true}); r != want || told[0].Mended != "leases made on 2 shares" {
		t.Errorf("leases are made: %+v, %+v", r, told[0])
	}
	if r := reconcile(other, tarn.ReconcileTreeOptions{}); r != whole {
		t.Errorf("nothing differs any more: %+v", r)
	}

	// One file is given up by the other one: to this one its leases have lapsed.
	if _, err := other.GiveUp(t.Context(), capOf(t, d, "07")); err != nil {
		t.Fatal(err)
	}
	if _, err := g.client.Reconcile(t.Context(), tarn.ReconcileOptions{Fix: true}); err != nil {
		t.Fatal(err)
	}
	r := reconcile(g.client, tarn.ReconcileTreeOptions{Fix: true})
	if r.Unleased != 1 || r.Mended != 0 || !slices.Equal(told[0].Path, []string{"07"}) || !errors.Is(told[0].Err, tarn.ErrNotEnoughShares) {
		t.Errorf("leases that have lapsed: %+v, %+v", r, told)
	}

	lost := file.Directory{File: stored(77, 100)}.String()
	kept := g.put(random(5000))
	unread := 0
	o := tarn.ReconcileTreeOptions{StoredBefore: soon, Fix: true, CancelUnreachable: true, Unread: func(tarn.Visited, error) error { unread++; return nil }}
	if r, err := g.client.ReconcileTree(t.Context(), []string{made.Cap, lost}, o); !errors.Is(err, tarn.ErrTreeUnread) || unread != 1 || r.Unread != 1 {
		t.Errorf("a directory that can't be read: %+v, %d told, %v", r, unread, err)
	}
	if r, err := g.client.ReconcileTree(t.Context(), []string{made.Cap, kept.Cap}, tarn.ReconcileTreeOptions{}); err != nil || r.Unreachable != 0 || r.Listed != files+2 {
		t.Errorf("nothing was given up: %+v, %v", r, err)
	}
	if _, err := g.client.ReconcileTree(t.Context(), []string{"nonsense"}, tarn.ReconcileTreeOptions{}); !errors.Is(err, tarn.ErrCap) {
		t.Errorf("no root: %v", err)
	}
	enough := errors.New("enough")
	if _, err := g.client.ReconcileTree(t.Context(), []string{made.Cap}, tarn.ReconcileTreeOptions{StoredBefore: soon, Found: func(tarn.TreeDifference) error { return enough }}); !errors.Is(err, enough) {
		t.Errorf("who is told has enough: %v", err)
	}
}

// capOf is the capability of an entry.
func capOf(t *testing.T, d *directory.Directory, name string) string {
	t.Helper()
	e, ok := d.Entry(name)
	if !ok {
		t.Fatalf("no entry %q", name)
	}
	return e.Read.String()
}

// sumOf is that of the numbers from a up to, not including, b.
func sumOf(a, b int64) (sum int64) {
	for n := a; n < b; n++ {
		sum += n
	}
	return sum
}
