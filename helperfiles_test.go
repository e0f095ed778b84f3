package tarn

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestHelperFiles(t *testing.T) {
	files := nodeFolder{t.TempDir()}.helperFiles()
	sweep := func(before time.Time) helper.Spooled {
		t.Helper()
		s, err := files.Sweep(before)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := sweep(time.Time{}); len(s.Parts)+len(s.Finished) > 0 {
		t.Fatalf("a new spool has %v", s)
	}
	one, two := wire.Secret{1}, wire.Secret{2}
	for _, job := range []wire.Secret{one, two} {
		f, err := files.Open(job)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("cipher"), 0)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	want := helper.Result{StorageIndex: grid.StorageIndex{3}, Size: 6, UEBHash: [32]byte{4}, Pushed: 5, Found: 6, At: 7}
	if err := files.Finish(two, want); err != nil {
		t.Fatal(err)
	}
	s := sweep(time.Now().Add(-time.Hour))
	if len(s.Parts) != 1 || s.Parts[one] != 6 || len(s.Finished) != 1 || s.Finished[two] != want {
		t.Errorf("the spool has %+v", s)
	}
	if err := os.WriteFile(files.path(two, resultSuffix), []byte(`{"format":1,"ueb_hash":"AA=="}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := sweep(time.Time{}); len(s.Finished) != 0 {
		t.Errorf("a damaged result is taken: %+v", s)
	}
	f, err := files.Open(one)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err := errors.Join(err, f.Close(), files.Remove(one), files.Remove(one)); err != nil || size != 6 {
		t.Errorf("size %d, %v", size, err)
	}
	sweep(time.Now().Add(time.Hour))
	if left, err := os.ReadDir(files.dir); err != nil || len(left) > 0 {
		t.Errorf("left after a day: %v, %v", left, err)
	}
}
