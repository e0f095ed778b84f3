package aesctr_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/tarn-grid/tarn/file/aesctr"
)

// The expected values were printed by allmydata.crypto.aes of Tahoe-LAFS
// 1.20.0, for the key bytes 0…15 and 40 zeros.
func TestSameAsTahoe(t *testing.T) {
	const want = "c6a13b37878f5b826f4f8162a1c8d8797346139595c0b41e497bbde365f42d0a49d68753999ba68c"
	c := aesctr.New([16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	got := make([]byte, 40)
	c.XOR(got, make([]byte, 40), 0)
	if hex.EncodeToString(got) != want {
		t.Errorf("%x, want %s", got, want)
	}
	for off := range got {
		part := make([]byte, len(got)-off)
		c.XOR(part, part, int64(off))
		if !bytes.Equal(part, got[off:]) {
			t.Errorf("from %d on: %x, want %x", off, part, got[off:])
		}
	}
}
