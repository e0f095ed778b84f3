package store

import (
	"bytes"
	"io"
	"testing"

	"github.com/tarn-grid/tarn/lease"
)

// Numbers of files begin anew with each start. A share that was moved to its
// place after one crash must not be moved again after the next, to the bytes
// that have its number now.
func TestSecondCrashMovesNothingAnew(t *testing.T) {
	s := NewMemory()
	l := lease.NewLedger(s, policy)
	must(t, applied(s)(l.PutRoots(lease.Root{Key: testKey(1)})))
	want := content(SmallShare + 1)
	must(t, uploadOne(s, l, own(1), testShare(1), want))
	s = crashed(t, s)
	in, err := s.Incoming()
	must(t, err)
	_, err = in.WriteAt([]byte("another share"), 0)
	must(t, err)
	_, err = in.Seal() // durable, and never committed
	must(t, err)
	s = crashed(t, s)
	b, err := s.OpenShare(testShare(1))
	must(t, err)
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size))
	must(t, err)
	must(t, b.Close())
	if !bytes.Equal(got, want) {
		t.Errorf("after the second crash the share has %d bytes that are not its %d", len(got), len(want))
	}
}

func crashed(t *testing.T, s *Store) *Store {
	t.Helper()
	after, err := s.AfterCrash()
	must(t, err)
	return after
}
