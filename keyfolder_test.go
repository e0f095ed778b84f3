package tarn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestKeyFolderGivesEachKeyOnce(t *testing.T) {
	f := keyFolder{filepath.Join(t.TempDir(), "keys")}
	if keys, left, err := f.Take(1); len(keys) != 0 || left != 0 || err != nil {
		t.Fatalf("an empty folder gave %d keys, and has %d, %v", len(keys), left, err)
	}
	for i := range 10 {
		if err := f.Put(fmt.Appendf(nil, "key %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	given := map[string]bool{}
	for _, most := range []int{4, 5, 6, 1} {
		keys, left, err := f.Take(most)
		if err != nil || len(keys) > most {
			t.Fatalf("%d keys of %d, %v", len(keys), most, err)
		}
		for _, k := range keys {
			if given[string(k)] {
				t.Errorf("%q was given twice", k)
			}
			given[string(k)] = true
		}
		if left != 10-len(given) {
			t.Errorf("%d are left after %d", left, len(given))
		}
	}
	if len(given) != 10 {
		t.Errorf("%d keys of 10 were given", len(given))
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
}

// What no key can be as large as goes, and is not given.
func TestKeyFolderWithSomethingElse(t *testing.T) {
	f := keyFolder{t.TempDir()}
	path := filepath.Join(f.dir, "large")
	if err := os.WriteFile(path, make([]byte, maxKeyFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, left, err := f.Take(5)
	if len(keys) != 0 || left != 0 || err != nil {
		t.Errorf("%d keys, %d left, %v", len(keys), left, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}
