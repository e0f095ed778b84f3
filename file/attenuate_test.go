package file_test

import (
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
)

// What Tahoe-LAFS 1.20.0 derives from each of the capabilities (get_readonly,
// get_verify_cap): the first field of what can be read and of what can be
// verified, empty if there is no such capability.
var attenuated = map[file.Kind]struct{ read, verify file.Kind }{
	"CHK":                {"CHK", "CHK-Verifier"},
	"CHK-Verifier":       {"CHK-Verifier", "CHK-Verifier"},
	"LIT":                {"LIT", ""},
	"SSK":                {"SSK-RO", "SSK-Verifier"},
	"SSK-RO":             {"SSK-RO", "SSK-Verifier"},
	"SSK-Verifier":       {"SSK-Verifier", "SSK-Verifier"},
	"MDMF":               {"MDMF-RO", "MDMF-Verifier"},
	"MDMF-RO":            {"MDMF-RO", "MDMF-Verifier"},
	"MDMF-Verifier":      {"MDMF-Verifier", "MDMF-Verifier"},
	"DIR2":               {"DIR2-RO", "DIR2-Verifier"},
	"DIR2-RO":            {"DIR2-RO", "DIR2-Verifier"},
	"DIR2-Verifier":      {"DIR2-Verifier", "DIR2-Verifier"},
	"DIR2-MDMF":          {"DIR2-MDMF-RO", "DIR2-MDMF-Verifier"},
	"DIR2-MDMF-RO":       {"DIR2-MDMF-RO", "DIR2-MDMF-Verifier"},
	"DIR2-MDMF-Verifier": {"DIR2-MDMF-Verifier", "DIR2-MDMF-Verifier"},
	"DIR2-CHK":           {"DIR2-CHK", "DIR2-CHK-Verifier"},
	"DIR2-CHK-Verifier":  {"DIR2-CHK-Verifier", "DIR2-CHK-Verifier"},
	"DIR2-LIT":           {"DIR2-LIT", ""},
}

// The secrets that Tahoe derives from the key bytes 0…15.
const (
	ofWriteKey = "axmc3zjy3mkanylpyx7u2zuqum" // storage index
	ofReadKey  = "7bs5jkfinmdx2syxcylygn7sdy" // storage index
	readKey    = "zlnpn42lu7xedonux53kr42hsm"
	ofCHK      = "hdis5iaveku6lnlaiccydyid7q" // storage index
	unchanged  = "aaaqeayeaudaocajbifqydiob4"
)

// secretOf is the first field of a capability that was derived.
func secretOf(from, to file.Kind) string {
	write := from == "SSK" || from == "MDMF" || from == "DIR2" || from == "DIR2-MDMF"
	verify := len(to) > 8 && to[len(to)-8:] == "Verifier"
	switch {
	case from == to:
		return unchanged
	case write && verify:
		return ofWriteKey
	case write:
		return readKey
	case to == "CHK-Verifier" || to == "DIR2-CHK-Verifier":
		return ofCHK
	default:
		return ofReadKey
	}
}

func TestLesserCapabilitiesAreTahoes(t *testing.T) {
	for kind, want := range attenuated {
		c, err := file.Parse(capabilities[kind])
		if err != nil {
			t.Fatal(err)
		}
		read, err := file.ReadOnly(c)
		checkLesser(t, kind, want.read, read, err)
		verify, err := file.Verifier(c)
		if want.verify == "" {
			if !errors.Is(err, file.ErrAttenuate) {
				t.Errorf("%s has the verifier %v (%v)", kind, verify, err)
			}
			continue
		}
		checkLesser(t, kind, want.verify, verify, err)
	}
	if len(attenuated) != len(capabilities) {
		t.Errorf("%d kinds were tried of %d", len(attenuated), len(capabilities))
	}
}

func checkLesser(t *testing.T, from, to file.Kind, got file.Capability, err error) {
	t.Helper()
	text := "URI:" + string(to) + ":"
	if from != "LIT" && from != "DIR2-LIT" {
		text += secretOf(from, to)
	}
	if err != nil || got.Kind() != to || len(got.String()) < len(text) || got.String()[:len(text)] != text {
		t.Errorf("%s gives %v (%v), want %s…", from, got, err, text)
		return
	}
	if again, err := file.Parse(got.String()); err != nil || again != got {
		t.Errorf("%s reads back as %v (%v)", got, again, err)
	}
}

func TestUnknownKindsHaveNoLesserCapability(t *testing.T) {
	for text, ok := range map[string]bool{"URI:FUTURE:abc": false, "ro.URI:FUTURE:abc": true, "imm.URI:FUTURE:abc": true} {
		c, err := file.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := file.ReadOnly(c)
		if ok && (err != nil || got != c) || !ok && !errors.Is(err, file.ErrAttenuate) {
			t.Errorf("read-only of %s: %v (%v)", text, got, err)
		}
		if got, err := file.Verifier(c); !errors.Is(err, file.ErrAttenuate) {
			t.Errorf("verifier of %s: %v (%v)", text, got, err)
		}
	}
}

func TestVerifiersGiveNoKeys(t *testing.T) {
	c, err := file.Parse(capabilities["SSK-Verifier"])
	if err != nil {
		t.Fatal(err)
	}
	m := c.(file.Mutable)
	if _, ok := m.ReadKey(); ok {
		t.Error("a verifier has a read key")
	}
	if _, ok := m.WriteKey(); ok {
		t.Error("a verifier has a write key")
	}
	if m.StorageIndex() != m.Secret {
		t.Errorf("storage index is %s", m.StorageIndex())
	}
}

// Printed by ssk_write_enabler_hash and ssk_readkey_data_hash of
// allmydata.util.hashutil.
func TestKeysAreDerivedAsByTahoe(t *testing.T) {
	key := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	var server grid.NodeID
	for i := range server {
		server[i] = byte(i)
	}
	if got := file.WriteKey(key).WriteEnabler(server).String(); got != "trzwgt5ri5trio7wlew6b3inos4w2srfk6klakmv7xbkdmfeqyeq" {
		t.Errorf("write enabler is %s", got)
	}
	var salt [16]byte
	for i := range salt {
		salt[i] = byte(16 + i)
	}
	data := file.ReadKey(key).DataKey(salt)
	if got := grid.EncodeBase32(data[:]); got != "olow2nqjaudsn5wnhfvr2ujza4" {
		t.Errorf("data key is %s", got)
	}
}
