package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

// TestCheckRecord: what was noted is there again, but for what a crash cut off;
// who begins anew finds nothing, and at the end nothing is left.
func TestCheckRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checks", "one")
	open := func(resume bool) (*checkRecord, []byte) {
		t.Helper()
		r, before, err := openCheckRecord(path, resume)
		if err != nil {
			t.Fatal(err)
		}
		if before.last.IsZero() != (before.known == nil) {
			t.Errorf("last written %v", before.last)
		}
		return r, before.known
	}
	one, two := grid.StorageIndex{1}, grid.StorageIndex{2}
	r, known := open(true)
	if known != nil {
		t.Errorf("nothing was noted, and %x is known", known)
	}
	r.add(one.String())
	r.add("") // has no shares
	r.add(two.String())
	if left, err := r.end(false); err != nil || !left {
		t.Fatal(left, err)
	}
	if err := os.WriteFile(path, append(append(one[:], two[:]...), "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	r, known = open(true)
	if want := append(one[:], two[:]...); !bytes.Equal(known, want) {
		t.Errorf("%x is known", known)
	}
	three := grid.StorageIndex{3}
	r.add(three.String())
	if left, err := r.end(false); err != nil || !left {
		t.Fatal(left, err)
	}
	if r, known = open(true); len(known) != 48 || grid.StorageIndex(known[32:]) != three {
		t.Errorf("behind what was torn off: %x", known)
	}
	if left, err := r.end(false); err != nil || !left {
		t.Fatal(left, err)
	}
	if r, known = open(false); known != nil {
		t.Errorf("begun anew, and %x is known", known)
	}
	if left, err := r.end(true); err != nil || left {
		t.Fatal(left, err)
	}
	if r, known = open(true); known != nil {
		t.Errorf("after the end %x is known", known)
	}
	if left, err := r.end(false); err != nil || left { // nothing was found
		t.Fatal(left, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty record is left: %v", err)
	}
}
