package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

func testServer() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(testKey())) }

func testPage() wire.UsagePage {
	return wire.UsagePage{
		Server: testServer(), Of: fill32(0xac), At: 1795000000, After: fill32(0xad), More: true,
		Delegates: []wire.DelegatedUsage{{Delegate: fill32(0xae), Bytes: 1 << 40, Shares: 2, Reserved: 3, BytesIn: 4, BytesOut: 5, Below: true}},
	}
}

func signedPage(tb testing.TB, p wire.UsagePage) []byte {
	tb.Helper()
	b, err := wire.SignUsagePage(testKey(), p)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// fullPage is the largest that there is.
func fullPage(tb testing.TB) []byte {
	p := wire.UsagePage{Server: testServer(), Of: fill32(0xff), At: 1 << 62, More: true}
	for i := range wire.MaxBelow {
		d := wire.DelegatedUsage{Delegate: [32]byte{byte(i >> 8), byte(i), 31: 1}, Below: true}
		d.Bytes, d.Shares, d.Reserved, d.BytesIn, d.BytesOut = wire.MaxUsage, wire.MaxUsage, wire.MaxUsage, wire.MaxUsage, wire.MaxUsage
		p.Delegates = append(p.Delegates, d)
	}
	return signedPage(tb, p)
}

func TestUsagePage(t *testing.T) {
	for _, b := range [][]byte{signedPage(t, testPage()), fullPage(t)} {
		p, err := wire.OpenUsagePage(b, testServer())
		if err != nil {
			t.Fatal(err)
		}
		if again := signedPage(t, p); !bytes.Equal(again, b) {
			t.Errorf("%+v came back different", p)
		}
	}
	if p, _ := wire.OpenUsagePage(signedPage(t, testPage()), testServer()); !reflect.DeepEqual(p, testPage()) {
		t.Errorf("got %+v", p)
	}
}

// TestUsagePageGolden pins the signed bytes.
func TestUsagePageGolden(t *testing.T) {
	const file = "testdata/usage-page.hex"
	var s struct {
		_         struct{} `cbor:",toarray"`
		Version   uint
		Page      []byte
		Signature [64]byte
	}
	if err := cbor.Unmarshal(signedPage(t, testPage()), &s); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString(hex.EncodeToString([]byte("tarn usage page v1:")) + " # tag of the signed bytes\n")
	annotate(&out, s.Page, 0)
	out.WriteString(hex.EncodeToString(s.Signature[:]) + " # signature of all of the above\n")
	if want, err := os.ReadFile(file); err != nil || out.String() != string(want) {
		t.Errorf("%s (%v) is not\n%s", file, err, out.String())
	}
}

// A page that anybody changed, or that another server signed, says nothing.
func TestChangedUsagePageIsRefused(t *testing.T) {
	good := signedPage(t, testPage())
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if p, err := wire.OpenUsagePage(bad, testServer()); err == nil {
			t.Errorf("byte %d changed: accepted as %+v", i, p)
		}
	}
	for n := range good {
		if _, err := wire.OpenUsagePage(good[:n], testServer()); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	p := testPage() // says that it is of the test's server
	forged, err := wire.SignUsagePage(other, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []grid.ServerID{testServer(), grid.ServerID(grid.PublicKeyOf(other))} {
		if _, err := wire.OpenUsagePage(forged, server); !errors.Is(err, wire.ErrUsageSignature) {
			t.Errorf("signed by another server: %v", err)
		}
	}
	if _, err := wire.OpenUsagePage(make([]byte, wire.MaxUsagePage+1), testServer()); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestUsagePageBounds(t *testing.T) {
	for name, spoil := range map[string]func(p *wire.UsagePage){
		"many":        func(p *wire.UsagePage) { p.Delegates = make([]wire.DelegatedUsage, wire.MaxBelow+1) },
		"twice":       func(p *wire.UsagePage) { p.Delegates = append(p.Delegates, p.Delegates[0]) },
		"goes back":   func(p *wire.UsagePage) { p.After = fill32(0xae) },
		"no more":     func(p *wire.UsagePage) { p.Delegates = nil },
		"too large":   func(p *wire.UsagePage) { p.Delegates[0].BytesOut = wire.MaxUsage + 1 },
		"before 1970": func(p *wire.UsagePage) { p.At = -1 },
	} {
		p := testPage()
		spoil(&p)
		if _, err := wire.SignUsagePage(testKey(), p); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzUsagePage(f *testing.F) {
	f.Add(signedPage(f, testPage()))
	f.Add(fullPage(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := wire.OpenUsagePage(b, testServer())
		if err == nil && !bytes.Equal(signedPage(t, p), b) {
			t.Errorf("accepted in another form: %x", b)
		}
	})
}
