package tarn

import (
	"encoding/binary"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// What was saved is there until so many others were that it made room.
func TestHelperReferences(t *testing.T) {
	r := newHelperReferences()
	server := grid.ServerID{1}
	credential := func(n int) (c lease.CredentialID) {
		binary.BigEndian.PutUint32(c[:], uint32(n))
		return c
	}
	for n := range maxHelperReferences + 10 {
		if err := r.Save(server, credential(n), []byte{byte(n)}); err != nil {
			t.Fatal(err)
		}
		if err := r.Save(server, credential(n), []byte{byte(n + 1)}); err != nil { // a newer one
			t.Fatal(err)
		}
	}
	for n := range maxHelperReferences + 10 {
		got, err := r.Load(server, credential(n))
		if kept := n >= 10; err != nil || (got != nil) != kept || kept && got[0] != byte(n+1) {
			t.Fatalf("number %d: %v, %v", n, got, err)
		}
	}
	if got, _ := r.Load(grid.ServerID{2}, credential(20)); got != nil {
		t.Error("a reference of another server")
	}
	if len(r.kept) != len(r.order) {
		t.Errorf("%d are kept, and %d are in order", len(r.kept), len(r.order))
	}
}
