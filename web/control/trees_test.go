package control_test

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
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// tree is a directory with two files of which the second is spoilt, and one with
// a name that few can type.
func tree(t *testing.T, node *memnode.Node) (root string, files []file.CHK) {
	t.Helper()
	node.Health.Checks = map[string]tarn.CheckResult{}
	d, err := directory.New(file.Directory{})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b", "ü\n"} {
		c := file.CHK{Key: file.Key{byte(i + 1)}, Needed: 3, Total: 10, Size: 100}
		files = append(files, c)
		node.Health.Checks[c.String()] = tarn.CheckResult{Report: health.Report{Needed: 0, Total: 0}}
		if err := d.Set(directory.Entry{Name: name, Read: c}); err != nil {
			t.Fatal(err)
		}
	}
	node.Health.Checks[files[1].String()] = spoilt()
	made, err := node.PutDirectory(t.Context(), d, tarn.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Health.Checks[made.Cap] = tarn.CheckResult{Report: health.Report{}}
	return made.Cap, files
}

func TestManifestOverTheSocket(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	root, files := tree(t, node)
	var lines []tahoe.Line
	list := control.ManifestOptions{Object: func(l tahoe.Line) error { lines = append(lines, l); return nil }}
	end, err := c.Manifest(t.Context(), control.Place{Cap: root}, list)
	if err != nil || end.Stats.Files != 3 || end.Stats.SizeImmutableFiles != 300 || len(end.Stats.Histogram) != 1 {
		t.Errorf("%+v, %v", end, err)
	}
	if len(lines) != 4 || lines[0].Cap != root || len(lines[0].Path) != 0 || !slices.Equal(lines[3].Path, []string{"ü\n"}) || lines[1].Verify != files[0].Verifier().String() {
		t.Errorf("%+v", lines)
	}
	if end, err := c.Manifest(t.Context(), control.Place{Cap: root, Path: []string{"a"}}, control.ManifestOptions{}); err != nil || end.Stats.Files != 1 || end.Stats.Directories != 0 {
		t.Errorf("of a file: %+v, %v", end, err)
	}
	enough := errors.New("enough")
	list.Object = func(tahoe.Line) error { return enough }
	if _, err := c.Manifest(t.Context(), control.Place{Cap: root}, list); !errors.Is(err, enough) {
		t.Errorf("who reads it has enough: %v", err)
	}
	lost := file.Directory{File: file.CHK{Key: file.Key{99}, Needed: 3, Total: 10, Size: 99}}.String()
	for where, want := range map[*control.Place]error{
		{Cap: root, Path: []string{"none"}}: tarn.ErrNoEntry, {Cap: "URI:CHK:x"}: tarn.ErrCap, {Cap: lost}: tarn.ErrNotEnoughShares,
	} {
		if _, err := c.Manifest(t.Context(), *where, control.ManifestOptions{}); !errors.Is(err, want) {
			t.Errorf("%v: %v", where, err)
		}
	}
	if _, err := c.Under([]byte("nonsense")).Manifest(t.Context(), control.Place{Cap: root}, control.ManifestOptions{}); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("an authority that is none: %v", err)
	}
}

func TestDeepCheckOverTheSocket(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	root, files := tree(t, node)
	check := func(o control.DeepCheckOptions) (told []string, end control.TreeEnd, err error) {
		end, err = c.DeepCheck(t.Context(), control.Place{Cap: root}, o, func(l tahoe.CheckedLine) error {
			healthy := l.Checked != nil && l.Checked.Results.Healthy
			told = append(told, fmt.Sprintf("%s %v %s", strings.Join(l.Path, "/"), healthy, l.Failed))
			if !healthy && l.Failed == "" && len(l.Nicknames) != 1 {
				t.Errorf("who has the damaged share: %v", l.Nicknames)
			}
			return nil
		})
		return told, end, err
	}
	progress := control.TreeProgress{}
	told, end, err := check(control.DeepCheckOptions{Verify: true, AddLease: true, Progress: func(p control.TreeProgress) { progress = p }})
	if err != nil || end.Stats.Files != 3 || end.Known != 0 || !slices.Equal(told, []string{" true ", "a true ", "b false ", "ü\n true "}) {
		t.Errorf("%q, %+v, %v", told, end, err)
	}
	if len(end.Silent) != 1 || end.Silent[0].Nickname != "s2" || end.Silent[0].Objects != 1 || end.Silent[0].Error != "away" {
		t.Errorf("not asked: %+v", end.Silent)
	}
	for _, asked := range node.Health.Asked {
		if !asked.Verify || !asked.AddLease {
			t.Errorf("asked %+v", asked)
		}
	}
	if progress.Bytes == 0 {
		t.Error("no progress was told")
	}
	well, ill := files[0].StorageIndex(), files[1].StorageIndex()
	told, end, err = check(control.DeepCheckOptions{Known: append(ill[:], well[:]...)})
	if err != nil || end.Known != 2 || !slices.Equal(told, []string{" true ", "ü\n true "}) {
		t.Errorf("with some that are known: %q, %+v, %v", told, end, err)
	}
	if _, _, err := check(control.DeepCheckOptions{Known: []byte("short")}); !errors.Is(err, control.ErrRequest) {
		t.Errorf("storage indexes that are none: %v", err)
	}
	delete(node.Health.Checks, files[2].String())
	if told, _, err := check(control.DeepCheckOptions{}); err != nil || len(told) != 4 || !strings.Contains(told[3], "nobody said how it is") {
		t.Errorf("one that can't be checked: %q, %v", told, err)
	}
}

// Differences between journal and tree arrive as they are, and so does what was
// asked.
func TestReconcileTreeOverTheSocket(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	root, files := tree(t, node)
	stored := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	node.Journal.TreeDifferences = []tarn.TreeDifference{
		{Kind: tarn.Unreachable, StorageIndex: files[0].StorageIndex(), VerifyCap: "URI:v", Size: 5, Stored: stored, Mended: "given up"},
		{Kind: tarn.Unleased, StorageIndex: files[1].StorageIndex(), Path: []string{"b"}, Root: 1, Err: tarn.ErrNotEnoughShares},
	}
	node.Journal.Tree = tarn.TreeReconciliation{Reachable: 1, Listed: 2, Recent: 3, Unreachable: 4, Unleased: 5, UnreachableBytes: 6, Mended: 7, Unread: 8}
	var found []control.TreeDifference
	var unread []control.UnreadDirectory
	progress := control.TreeProgress{}
	o := control.ReconcileTreeOptions{
		Fix: true, CancelUnreachable: true, StoredBefore: stored,
		Found:    func(d control.TreeDifference) error { found = append(found, d); return nil },
		Unread:   func(u control.UnreadDirectory) error { unread = append(unread, u); return nil },
		Progress: func(p control.TreeProgress) { progress = p },
	}
	places := []control.Place{{Cap: root}, {Cap: root, Path: []string{"b"}}}
	r, err := c.ReconcileTree(t.Context(), places, o)
	if err != nil || r != control.TreeReconciliation(node.Journal.Tree) || progress.Objects != 7 {
		t.Errorf("%+v, %+v, %v", r, progress, err)
	}
	if asked := node.Journal; !slices.Equal(asked.Roots, []string{root, files[1].String()}) || !asked.TreeOptions.Fix || !asked.TreeOptions.CancelUnreachable || !asked.TreeOptions.StoredBefore.Equal(stored) {
		t.Errorf("asked %+v of %q", asked.TreeOptions, asked.Roots)
	}
	if len(found) != 2 || found[0].Kind != "unreachable" || found[0].Size != 5 || !found[0].Stored.Equal(stored) || found[0].Mended != "given up" ||
		found[1].Kind != "unleased" || found[1].Root != 1 || !slices.Equal(found[1].Path, []string{"b"}) || found[1].Error == "" || !found[1].Stored.IsZero() {
		t.Errorf("%+v", found)
	}
	if len(unread) != 1 || !slices.Equal(unread[0].Path, []string{"lost"}) {
		t.Errorf("%+v", unread)
	}
	node.Journal.TreeError = fmt.Errorf("%w: there", tarn.ErrTreeUnread)
	if _, err := c.ReconcileTree(t.Context(), places, o); !errors.Is(err, tarn.ErrTreeUnread) {
		t.Errorf("an error: %v", err)
	}
	if _, err := c.ReconcileTree(t.Context(), []control.Place{{Cap: root, Path: []string{"none"}}}, o); !errors.Is(err, tarn.ErrNoEntry) {
		t.Errorf("a place that there is not: %v", err)
	}
}
