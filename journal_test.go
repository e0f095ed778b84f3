package tarn

import (
	"os"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/store"
)

func anyServer(n byte) grid.ServerID { return grid.ServerID{n} }

// A node that kept its journal as lines of text keeps all of it; a last line
// that a crash cut off was never acknowledged.
func TestOlderJournalIsTakenOver(t *testing.T) {
	f := nodeFolder{t.TempDir()}
	if err := f.prepare(); err != nil {
		t.Fatal(err)
	}
	v := file.CHKVerifier{StorageIndex: grid.StorageIndex{7}, UEBHash: tagged.Hash{8}, Needed: 1, Total: 2, Size: 100}
	s1, s2 := anyServer(1).String(), anyServer(2).String()
	line := `{"time":"2026-11-01T12:00:00Z","verify-cap":"` + v.String() + `","size":100,"shares":{"0":["` + s1 + `"],"1":["` + s2 + `","` + s1 + `"]},"accounts":{"` + s1 + `":"` + grid.PublicKey{9}.String() + `"}}`
	old := f.private("journal.jsonl")
	if err := os.WriteFile(old, []byte(line+"\n"+`{"time":"2026-`), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := f.openJournal()
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := j.File(v.StorageIndex)
	if err != nil || !ok || got.VerifyCap != v.String() || got.Stored != 1793534400 || len(got.Shares) != 3 {
		t.Errorf("taken over: %+v, %v", got, err)
	}
	leases, err := j.Leases(v.StorageIndex)
	if err != nil || len(leases) != 3 || leases[0].Label != (grid.PublicKey{9}) || !leases[2].Label.IsZero() {
		t.Errorf("leases %+v, %v", leases, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the older journal is still there: %v", err)
	}
}

func TestDamagedOlderJournalIsTold(t *testing.T) {
	for _, text := range []string{"nonsense\n", `{"verify-cap":"URI:LIT:nbswy3dp"}` + "\n", `{"verify-cap":"x"}` + "\n"} {
		f := nodeFolder{t.TempDir()}
		if err := f.prepare(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.private("journal.jsonl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.openJournal(); err == nil || !strings.Contains(err.Error(), "journal.jsonl, line 1") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzJournalLine(f *testing.F) {
	v := file.CHKVerifier{StorageIndex: grid.StorageIndex{7}, Needed: 1, Total: 2, Size: 100}
	f.Add([]byte(`{"time":"2026-11-01T12:00:00Z","verify-cap":"` + v.String() + `","size":100,"shares":{"0":["` + anyServer(1).String() + `"]}}`))
	f.Add([]byte(`{"verify-cap":"URI:CHK-Verifier:"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		j := store.NewMemoryJournal()
		err := importLine(j, line)
		if n, _ := j.Files(); (err == nil) != (n == 1) {
			t.Errorf("%q: %d files, %v", line, n, err)
		}
	})
}
