package tarn

import (
	"os"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/helper/spooltest"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestHelperFiles(t *testing.T) {
	spooltest.Suite(t, func(t *testing.T) spooltest.Subject {
		files := nodeFolder{t.TempDir()}.helperFiles()
		age := func(job wire.Secret, by time.Duration) {
			for _, suffix := range []string{partSuffix, resultSuffix} {
				at := time.Now().Add(-by)
				if err := os.Chtimes(files.path(job, suffix), at, at); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
		}
		return spooltest.Subject{Spool: files, Now: time.Now, Age: age}
	})
}

// What a crash or a foreign hand left is no ciphertext and no result: it is
// begun anew, and what is none of ours goes when it is old.
func TestHelperFilesThatAreNoGood(t *testing.T) {
	files := nodeFolder{t.TempDir()}.helperFiles()
	if _, err := files.Sweep(time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	job := wire.Secret{1}
	for name, text := range map[string]string{
		files.path(job, partSuffix):              "cut off in the head",
		files.path(wire.Secret{2}, partSuffix):   string(make([]byte, partHead+10)),
		files.path(wire.Secret{3}, resultSuffix): `{"format":1,"ueb_hash":"AA=="}`,
		files.path(wire.Secret{4}, ".other"):     "x",
		files.path(wire.Secret{5}, partSuffix):   "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := files.Sweep(time.Time{}, nil)
	if err != nil || len(s.Finished) != 0 || len(s.Parts) != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	for job, p := range s.Parts {
		if p.Size != 0 || p.Accounts != nil {
			t.Errorf("%x has %+v", job, p)
		}
		f, err := files.Open(job, []grid.PublicKey{{7}})
		if err != nil {
			t.Fatal(err)
		}
		if size, err := f.Size(); size != 0 || err != nil {
			t.Errorf("%x begins with %d bytes, %v", job, size, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = files.Sweep(time.Now().Add(time.Hour), nil); err != nil || len(s.Parts) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if left, err := os.ReadDir(files.dir); err != nil || len(left) > 0 {
		t.Errorf("left after a day: %v, %v", left, err)
	}
}
