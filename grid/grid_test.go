package grid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

func TestBase32HasOneSpelling(t *testing.T) {
	good := grid.EncodeBase32(make([]byte, 16))
	if got, err := grid.DecodeBase32(good, 16); err != nil || len(got) != 16 {
		t.Fatalf("DecodeBase32(%q) = %x, %v", good, got, err)
	}
	for name, bad := range map[string]string{
		"upper case":      strings.ToUpper(good),
		"too short":       good[:25],
		"too long":        good + "a",
		"padding":         good + "======",
		"unused low bits": good[:25] + "b",
		"line break":      good[:13] + "\n" + good[13:],
		"foreign letter":  good[:25] + "1",
	} {
		if _, err := grid.DecodeBase32(bad, 16); !errors.Is(err, grid.ErrBase32) {
			t.Errorf("%s: %q was accepted (%v)", name, bad, err)
		}
	}
}

func FuzzNouns(f *testing.F) {
	f.Add(grid.PublicKey{1}.String())
	f.Add(grid.ServerID{2}.String())
	f.Add(grid.StorageIndex{3}.String())
	f.Add("pub-v0-")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := grid.ParsePublicKey(s); err == nil && k.String() != s {
			t.Errorf("public key %q prints as %q", s, k)
		}
		if id, err := grid.ParseServerID(s); err == nil && id.String() != s {
			t.Errorf("server id %q prints as %q", s, id)
		}
		if si, err := grid.ParseStorageIndex(s); err == nil && si.String() != s {
			t.Errorf("storage index %q prints as %q", s, si)
		}
	})
}
