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

func TestAnnouncementComesBack(t *testing.T) {
	got, err := wire.OpenAnnouncement(signed(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := testAnnouncement(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestRelaysAnnouncementComesBack(t *testing.T) {
	a := testAnnouncement()
	a.Relay = true
	b, err := wire.SignAnnouncement(testKey(), a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.OpenAnnouncement(b); err != nil || !got.Relay {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestAnnouncementGolden pins the signed bytes; frames pins them too, but not
// what is inside of the signature.
func TestAnnouncementGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/announcement.hex")
	if err != nil {
		t.Fatal(err)
	}
	var s wire.SignedAnnouncement
	if err := cbor.Unmarshal(signed(t), &s); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString(hex.EncodeToString([]byte("tarn announcement v1:")) + " # tag of the signed bytes\n")
	annotate(&out, s.Body, 0)
	out.WriteString(hex.EncodeToString(s.Signature[:]) + " # signature of all of the above\n")
	if out.String() != string(want) {
		t.Errorf("testdata/announcement.hex is not\n%s", out.String())
	}
	lines := strings.Split(strings.TrimSpace(string(want)), "\n")
	message := unannotate(t, strings.Join(lines[:len(lines)-1], "\n"))
	if !testAnnouncement().Server.Key().Verify(message, unannotate(t, lines[len(lines)-1])) {
		t.Error("the golden signature does not verify")
	}
}

func TestChangedAnnouncementIsRefused(t *testing.T) {
	good := signed(t)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if a, err := wire.OpenAnnouncement(bad); err == nil {
			t.Errorf("byte %d changed: accepted as %+v", i, a)
		}
	}
	for n := range good {
		if _, err := wire.OpenAnnouncement(good[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := wire.OpenAnnouncement(append(good, 0)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := wire.OpenAnnouncement(make([]byte, wire.MaxAnnouncement+1)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestAnnouncementBounds(t *testing.T) {
	for name, spoil := range map[string]func(a *grid.Announcement){
		"long nickname":    func(a *grid.Announcement) { a.Nickname = strings.Repeat("ü", 33) },
		"nickname escape":  func(a *grid.Announcement) { a.Nickname = "\x1b[31mred" },
		"nickname bytes":   func(a *grid.Announcement) { a.Nickname = "\xff" },
		"many hints":       func(a *grid.Announcement) { a.Hints = make([]grid.Hint, wire.MaxHints+1) },
		"long hint":        func(a *grid.Announcement) { a.Hints = []grid.Hint{grid.Hint("/" + strings.Repeat("x", 256))} },
		"no address":       func(a *grid.Announcement) { a.Hints = []grid.Hint{"example.org:80"} },
		"hint with spaces": func(a *grid.Announcement) { a.Hints = []grid.Hint{"/dns/a b/tcp/1"} },
		"no seed":          func(a *grid.Announcement) { a.PermutationSeed = nil },
		"long seed":        func(a *grid.Announcement) { a.PermutationSeed = make([]byte, 65) },
		"many managers":    func(a *grid.Announcement) { a.Accepts = make([]grid.PublicKey, wire.MaxAccepts+1) },
		"manager twice":    func(a *grid.Announcement) { a.Accepts = make([]grid.PublicKey, 2) },
		"many versions":    func(a *grid.Announcement) { a.CertificateVersions = make([]uint, 17) },
		"version twice":    func(a *grid.Announcement) { a.CertificateVersions = []uint{1, 1} },
	} {
		a := testAnnouncement()
		spoil(&a)
		if _, err := wire.SignAnnouncement(testKey(), a); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: signed with error %v", name, err)
		}
	}
	other := ed25519.NewKeyFromSeed(make([]byte, 32))
	if _, err := wire.SignAnnouncement(other, testAnnouncement()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("another's key: %v", err)
	}
}

// TestSignerCannotExceedBounds signs by hand what SignAnnouncement refuses.
func TestSignerCannotExceedBounds(t *testing.T) {
	id := testAnnouncement().Server
	for name, c := range map[string]struct {
		version int
		fields  map[int]any
		want    error
	}{
		"as it should be": {1, nil, nil},
		"later version":   {2, nil, wire.ErrMalformed},
		"long nickname":   {1, map[int]any{3: strings.Repeat("x", 65)}, wire.ErrMalformed},
		"short node id":   {1, map[int]any{5: id[:19]}, wire.ErrMalformed},
		"short manager":   {1, map[int]any{7: [][]byte{id[:31]}}, wire.ErrMalformed},
		"another server":  {1, map[int]any{1: make([]byte, 32)}, wire.ErrSignature},
		"unknown field":   {1, map[int]any{77: "later"}, nil},
	} {
		fields := map[int]any{1: id[:], 2: 1, 5: id[:20], 6: id[:]}
		for k, v := range c.fields {
			fields[k] = v
		}
		body, err := cbor.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		sig := ed25519.Sign(testKey(), append([]byte("tarn announcement v1:"), body...))
		b, err := cbor.Marshal([]any{c.version, body, sig})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.OpenAnnouncement(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzAnnouncement(f *testing.F) {
	seed := signed(f)
	if len(seed) < 100 {
		f.Fatalf("seed of %d bytes", len(seed))
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := wire.OpenAnnouncement(b)
		if err != nil {
			return
		}
		want := testAnnouncement()
		if a.Server == want.Server && !reflect.DeepEqual(a, want) {
			t.Errorf("the server never signed %+v", a)
		}
	})
}
