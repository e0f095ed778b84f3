//go:build integration

package tahoe_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
)

// call is what mutable.py reads: a function and its arguments.
type call map[string]any

// ask lets Tahoe do the calls and returns the answers, each as JSON.
func ask(t *testing.T, calls ...call) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(string(tahoe(t, "mutable.py", calls))), "\n")
}

// mutableCase is a file of some shape.
type mutableCase struct {
	format        mutable.Format
	size          int64
	needed, total int
	segment       int64
}

func (c mutableCase) String() string {
	return fmt.Sprintf("%s of %d bytes, %d of %d", c.format, c.size, c.needed, c.total)
}

func (c mutableCase) layout(t *testing.T) mutable.Layout {
	t.Helper()
	l, err := mutable.NewLayout(c.format, c.size, file.Params{Needed: c.needed, Total: c.total, SegmentSize: mutable.DefaultSegmentSize})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var mutableCases = []mutableCase{
	{mutable.SDMF, 0, 3, 10, 0},
	{mutable.SDMF, 1, 1, 1, 0},
	{mutable.SDMF, 10_001, 3, 10, 0},
	{mutable.SDMF, 300_000, 7, 20, 0},
	{mutable.MDMF, 0, 3, 10, 0},
	{mutable.MDMF, 5, 2, 3, 0},
	{mutable.MDMF, 128 << 10, 1, 2, 0},
	{mutable.MDMF, 700_000, 3, 10, 0},
}

// newKey makes a key, and a PEM file of it.
func newKey(t *testing.T) (*mutable.Key, string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, mutable.KeyBits)
	if err != nil {
		t.Fatal(err)
	}
	key, err := mutable.NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, path
}

// readMutable gives back the file from the shares in a folder, all of which
// must be good; it uses the last ones.
func readMutable(t *testing.T, c file.Mutable, folder string) ([]byte, mutable.Prefix) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []mutable.Found
	shares := map[grid.ShareNum]mutable.Share{}
	for i := range files {
		n := grid.ShareNum(i)
		s, err := mutable.Cut(read(t, filepath.Join(folder, fmt.Sprint(n))))
		if err != nil {
			t.Fatalf("share %d: %v", n, err)
		}
		if err := s.Verify(c, n); err != nil {
			t.Fatalf("share %d: %v", n, err)
		}
		found, shares[n] = append(found, mutable.Found{Prefix: s.Header.Prefix, Share: n}), s
	}
	v, err := mutable.Best(mutable.Versions(found))
	if err != nil {
		t.Fatal(err)
	}
	key, _ := c.ReadKey()
	var content []byte
	for i := range v.NumSegments() {
		blocks := map[grid.ShareNum][]byte{}
		for _, n := range v.Shares[len(v.Shares)-v.Needed:] {
			blocks[n] = shares[n].Block(i)
		}
		segment, err := mutable.Decode(v.Prefix, key, i, blocks)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, segment...)
	}
	return content, v.Prefix
}

func TestTahoesMutableFilesAreRead(t *testing.T) {
	key, path := newKey(t)
	var calls []call
	for i, c := range mutableCases {
		calls = append(calls, call{
			"do": "create", "format": strings.ToLower(c.format.String()), "key": path, "file": nodes.RandomFile(t, uint64(i), c.size),
			"needed": c.needed, "total": c.total, "shares": t.TempDir(),
		})
	}
	for i, answer := range ask(t, calls...) {
		c, content := mutableCases[i], read(t, calls[i]["file"].(string))
		capability := key.Capability(c.format)
		if answer != fmt.Sprintf("%q", capability) {
			t.Errorf("%s: capability %s, Tahoe-LAFS says %s", c, capability, answer)
		}
		got, p := readMutable(t, capability, calls[i]["shares"].(string))
		if !bytes.Equal(got, content) || p.Layout != c.layout(t) || p.Seqnum != 1 {
			t.Errorf("%s: %d bytes of %+v, want %+v", c, len(got), p, c.layout(t))
		}
	}
}

// change writes into the middle of a file. Tahoe divides by zero when that is
// empty, and must overwrite it.
func change(capability file.Mutable, c mutableCase, path, shares string) call {
	j := call{"do": "update", "capability": capability.String(), "offset": c.size / 2, "file": path, "needed": c.needed, "total": c.total, "shares": shares}
	if c.size == 0 {
		j["do"] = "overwrite"
		delete(j, "offset")
	}
	return j
}

// Tahoe verifies every share, reads the file, and writes the next version of
// it, which is read again.
func TestMutableFilesAreReadAndWrittenByTahoe(t *testing.T) {
	key, _ := newKey(t)
	var calls []call
	type made struct{ content, change, shares, out string }
	files := make([]made, len(mutableCases))
	for i, c := range mutableCases {
		m := &files[i]
		*m = made{nodes.RandomFile(t, uint64(i), c.size), nodes.RandomFile(t, 99, 1000), t.TempDir(), filepath.Join(t.TempDir(), "out")}
		_, shares, err := mutable.Encode(c.layout(t), key, 7, read(t, m.content), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for n, b := range shares {
			if err := os.WriteFile(filepath.Join(m.shares, fmt.Sprint(n)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		capability := key.Capability(c.format)
		calls = append(calls,
			call{"do": "verify", "capability": capability.ReadOnly().String(), "shares": m.shares},
			call{"do": "read", "capability": capability.ReadOnly().String(), "shares": m.shares, "into": m.out},
			change(capability, c, m.change, m.shares))
	}
	answers := ask(t, calls...)
	for i, c := range mutableCases {
		var report struct {
			Healthy       bool
			Good, Corrupt int
		}
		if err := json.Unmarshal([]byte(answers[3*i]), &report); err != nil || !report.Healthy || report.Good != c.total || report.Corrupt != 0 {
			t.Errorf("%s: Tahoe-LAFS says %s (%v)", c, answers[3*i], err)
		}
		content := read(t, files[i].content)
		if !bytes.Equal(read(t, files[i].out), content) {
			t.Errorf("%s: Tahoe-LAFS reads something else", c)
		}
		change := read(t, files[i].change)
		off := int(c.size / 2)
		want := append(bytes.Clone(content), make([]byte, max(0, off+len(change)-len(content)))...)
		copy(want[off:], change)
		got, p := readMutable(t, key.Capability(c.format), files[i].shares)
		if !bytes.Equal(got, want) || p.Seqnum != 8 {
			t.Errorf("%s: changed by Tahoe-LAFS to %d bytes of version %d", c, len(got), p.Seqnum)
		}
	}
}
