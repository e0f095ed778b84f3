package directory_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/tagged"
)

const (
	key      = "aaaqeayeaudaocajbifqydiob4"
	hash     = ":eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q"
	writable = "URI:DIR2:" + key + hash
	chk      = "URI:CHK:" + key + hash + ":3:10:1000"
	ssk      = "URI:SSK:" + key + hash
	fixed    = "URI:DIR2-CHK:" + key + hash + ":3:10:1000"
)

func capability(t testing.TB, text string) file.Capability {
	t.Helper()
	if text == "" {
		return nil
	}
	c, err := file.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dir(t testing.TB, text string) file.Directory {
	t.Helper()
	return capability(t, text).(file.Directory)
}

func readOnly(t testing.TB, c file.Directory) file.Directory {
	t.Helper()
	lesser, err := file.ReadOnly(c)
	if err != nil {
		t.Fatal(err)
	}
	return lesser.(file.Directory)
}

func text(c file.Capability) string {
	if c == nil {
		return ""
	}
	return c.String()
}

// child is an entry as Tahoe reads it.
type child struct{ Name, Write, Read, ReadOnly, Metadata string }

// golden is the text of a directory and its entries.
func golden(t testing.TB, name string) ([]byte, []child) {
	t.Helper()
	content, err := os.ReadFile("testdata/tahoe/" + name + ".dir")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("testdata/tahoe/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var all []child
	if err := json.Unmarshal(list, &all); err != nil || len(all) < 5 {
		t.Fatalf("%d entries (%v)", len(all), err)
	}
	return content, all
}

func TestTahoesDirectoriesAreRead(t *testing.T) {
	for name, c := range map[string]file.Directory{"mutable": dir(t, writable), "immutable": dir(t, fixed)} {
		content, all := golden(t, name)
		for _, c := range []file.Directory{c, readOnly(t, c)} {
			d, err := directory.Parse(c, content)
			if err != nil || d.Len() != len(all) {
				t.Fatalf("%s: %d entries of %d (%v)", name, d.Len(), len(all), err)
			}
			for i, n := range d.Names() {
				want := all[i]
				if c.Kind() == "DIR2-RO" {
					want.Write, want.Read = "", want.ReadOnly
				}
				e, ok := d.Entry(n)
				if !ok || e.Err != nil || n != want.Name || text(e.Write) != want.Write || text(e.Read) != want.Read || string(e.Metadata) != want.Metadata {
					t.Errorf("%s, with %s: %+v, want %+v", name, c.Kind(), e, want)
				}
			}
			if again, err := d.Encode(); err != nil || !bytes.Equal(again, content) {
				t.Errorf("%s: written back as %q (%v)", name, again, err)
			}
		}
	}
}

// The same entries give the same bytes.
func TestDirectoriesAreTahoes(t *testing.T) {
	for name, c := range map[string]file.Directory{"mutable": dir(t, writable), "immutable": {}} {
		content, all := golden(t, name)
		d, err := directory.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			read := capability(t, e.Read)
			if err := d.Set(directory.Entry{Name: e.Name, Write: capability(t, e.Write), Read: read, Metadata: directory.Metadata(e.Metadata)}); err != nil {
				t.Errorf("%s: %s: %v", name, e.Name, err)
			}
		}
		if got, err := d.Encode(); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %q (%v), want %q", name, got, err, content)
		}
	}
}

func TestNamesAreNormalised(t *testing.T) {
	d, err := directory.New(dir(t, writable))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"e\u0301", "\u00e9"} {
		if err := d.Set(directory.Entry{Name: name, Read: capability(t, chk)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Names(); len(got) != 1 || got[0] != "\u00e9" {
		t.Errorf("names %q", got)
	}
	if _, ok := d.Entry("e\u0301"); !ok {
		t.Error("not found under its decomposed name")
	}
	if ok, err := d.Remove("e\u0301"); !ok || err != nil || d.Len() != 0 {
		t.Errorf("removed: %v (%v), %d are left", ok, err, d.Len())
	}
	if err := d.Set(directory.Entry{Name: "\xff", Read: capability(t, chk)}); !errors.Is(err, directory.ErrEntry) {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
}

// Whoever can only read a directory changes neither it nor a child, whatever
// its writer did.
func TestReadersCannotWrite(t *testing.T) {
	content := entry("mistake", ssk, strings.Repeat("s", 48), "{}")
	d, err := directory.Parse(readOnly(t, dir(t, writable)), content)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := d.Entry("mistake")
	if e.Write != nil || e.Read == nil || e.Read.Writable() {
		t.Errorf("a reader gets %v and %v", e.Write, e.Read)
	}
	if err := d.Set(directory.Entry{Name: "a", Read: capability(t, chk)}); !errors.Is(err, directory.ErrReadOnly) {
		t.Errorf("a reader adds: %v", err)
	}
	if _, err := d.Remove("mistake"); !errors.Is(err, directory.ErrReadOnly) {
		t.Errorf("a reader removes: %v", err)
	}
	for _, kind := range []string{"URI:DIR2-Verifier:" + key + hash, "URI:DIR2-CHK-Verifier:" + key + hash + ":3:10:1000"} {
		if _, err := directory.Parse(dir(t, kind), nil); !errors.Is(err, directory.ErrReadOnly) {
			t.Errorf("a verifier reads with %s: %v", kind, err)
		}
	}
}

// entry is written by hand.
func entry(parts ...string) []byte {
	var raw []byte
	for _, p := range parts {
		raw = tagged.AppendNetstring(raw, []byte(p))
	}
	return tagged.AppendNetstring(nil, raw)
}

func TestNoWriteLinksAreReadOnly(t *testing.T) {
	d, err := directory.New(dir(t, writable))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set(directory.Entry{Name: "a", Write: capability(t, ssk), Metadata: `{"no-write": true}`}); err != nil {
		t.Fatal(err)
	}
	if e, _ := d.Entry("a"); e.Write != nil || e.Read == nil || e.Read.Kind() != file.KindSSKRO {
		t.Errorf("%+v", e)
	}
}

func TestEntriesThatCannotBeAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		dir   string
		entry directory.Entry
	}{
		"unknown, to be written":           {writable, directory.Entry{Write: file.Unknown{Text: "lafs://x"}}},
		"unknown, mutable and immutable":   {writable, directory.Entry{Write: file.Unknown{Text: "lafs://x"}, Read: file.Unknown{Text: "imm.lafs://y"}}},
		"mutable in immutable":             {"", directory.Entry{Write: capability(t, ssk)}},
		"mutable, read-only, in immutable": {"", directory.Entry{Read: capability(t, "URI:SSK-RO:"+key+hash)}},
		"unknown, writable, in immutable":  {"", directory.Entry{Write: file.Unknown{Text: "lafs://x"}, Read: file.Unknown{Text: "ro.lafs://x"}}},
		"nothing":                          {writable, directory.Entry{Name: "a"}},
		"metadata a list":                  {writable, directory.Entry{Read: capability(t, chk), Metadata: "[]"}},
		"metadata cut off":                 {writable, directory.Entry{Read: capability(t, chk), Metadata: `{"a": 1`}},
		"metadata too long":                {writable, directory.Entry{Read: capability(t, chk), Metadata: directory.Metadata(`{"a": "` + strings.Repeat("x", directory.MaxMetadata) + `"}`)}},
	} {
		var of file.Directory
		if c.dir != "" {
			of = dir(t, c.dir)
		}
		d, err := directory.New(of)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Set(c.entry); !errors.Is(err, directory.ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
		if d.Len() != 0 {
			t.Errorf("%s: it is there", name)
		}
	}
}

// An entry that makes no sense harms no other one and is not lost.
func TestBadEntriesAreKept(t *testing.T) {
	sealed := strings.Repeat("s", 48)
	for name, c := range map[string]struct{ dir, read, sealed, metadata string }{
		"damaged capability":    {writable, "URI:CHK:x", sealed, "{}"},
		"no capability":         {writable, "hello", sealed, "{}"},
		"short write":           {writable, chk, "short", "{}"},
		"metadata":              {writable, chk, sealed, "nonsense"},
		"mutable in immutable":  {fixed, "URI:SSK-RO:" + key + hash, "", "{}"},
		"writable in immutable": {fixed, ssk, "", "{}"},
	} {
		content := append(entry("bad", c.read, c.sealed, c.metadata), entry("good", chk, c.sealed, "{}")...)
		if c.sealed == "short" {
			content = append(entry("bad", c.read, c.sealed, c.metadata), entry("good", chk, sealed, "{}")...)
		}
		d, err := directory.Parse(dir(t, c.dir), content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e, ok := d.Entry("bad"); !ok || !errors.Is(e.Err, directory.ErrEntry) || e.Capability() != nil {
			t.Errorf("%s: %+v", name, e)
		}
		if e, ok := d.Entry("good"); !ok || e.Err != nil || text(e.Read) != chk {
			t.Errorf("%s: the other entry is %+v", name, e)
		}
		if again, err := d.Encode(); err != nil || !bytes.Equal(again, content) {
			t.Errorf("%s: written back as %q (%v)", name, again, err)
		}
	}
}

func TestDamagedDirectoriesAreRefused(t *testing.T) {
	content, _ := golden(t, "mutable")
	for size := range content {
		d, err := directory.Parse(dir(t, writable), content[:size])
		if err == nil {
			if again, _ := d.Encode(); !bytes.Equal(again, content[:size]) {
				t.Errorf("%d bytes: read as %d entries", size, d.Len())
			}
		} else if !errors.Is(err, directory.ErrDirectory) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	for name, bad := range map[string][]byte{
		"three parts":         entry("a", chk, ""),
		"five parts":          entry("a", chk, "", "{}", ""),
		"name not UTF-8":      entry("\xff", chk, "", "{}"),
		"write, in immutable": entry("a", chk, strings.Repeat("s", 48), "{}"),
	} {
		if _, err := directory.Parse(dir(t, fixed), bad); !errors.Is(err, directory.ErrDirectory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDirectory(f *testing.F) {
	for _, name := range []string{"mutable", "immutable"} {
		content, _ := golden(f, name)
		f.Add(content)
	}
	f.Add(entry("a", chk, "", "{}"))
	f.Add(append(entry("a", chk, "", "{}"), entry("a", "imm.lafs:x", "", `{"a": 1}`)...))
	dirs := []file.Directory{dir(f, writable), readOnly(f, dir(f, writable)), dir(f, fixed)}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range dirs {
			d, err := directory.Parse(c, b)
			if err != nil {
				if !errors.Is(err, directory.ErrDirectory) {
					t.Errorf("%q: %v", b, err)
				}
				continue
			}
			for _, n := range d.Names() {
				if e, ok := d.Entry(n); !ok || e.Read != nil && (e.Read.Writable() || c.Immutable() && !e.Read.Immutable()) {
					t.Errorf("%q: %q gives %+v", b, n, e)
				}
			}
			first, err := d.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := directory.Parse(c, first)
			if err != nil || again.Len() != d.Len() {
				t.Fatalf("%q is written as %q (%v)", b, first, err)
			}
		}
	})
}

// The 10,000 entries of a large directory are read, one changed, and written
// back in a fraction of the second that an edit may take.
func BenchmarkEdit(b *testing.B) {
	d, err := directory.New(dir(b, writable))
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		e := directory.Entry{Name: strings.Repeat("n", 20) + string(rune('一'+i)), Write: capability(b, ssk), Metadata: `{"tahoe": {"linkcrtime": 1.5, "linkmotime": 1.5}}`}
		if err := d.Set(e); err != nil {
			b.Fatal(err)
		}
	}
	content, err := d.Encode()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d, err := directory.Parse(dir(b, writable), content)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Set(directory.Entry{Name: "new", Read: capability(b, chk)}); err != nil {
			b.Fatal(err)
		}
		if _, err := d.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

// What Tahoe writes of a child without any capability, as programs mark what was
// deleted, is read, used and written again.
func TestNamesWithoutCapabilities(t *testing.T) {
	const text = `34:4:gone,0:,0:,17:{"deleted": true},,`
	d, err := directory.Parse(dir(t, fixed), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e, ok := d.Entry("gone")
	if !ok || e.Err != nil || e.Capability() != (file.Unknown{}) || e.Metadata != `{"deleted": true}` {
		t.Errorf("%+v", e)
	}
	for _, c := range []file.Directory{{}, dir(t, writable)} {
		d, err := directory.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Set(e); err != nil {
			t.Fatal(err)
		}
		made, err := d.Encode()
		if err != nil || c.File == nil && string(made) != text {
			t.Errorf("%q (%v), Tahoe writes %q", made, err, text)
		}
		if d, err = directory.Parse(c, made); err != nil {
			t.Fatal(err)
		}
		if again, _ := d.Entry("gone"); again.Err != nil || again.Capability() != (file.Unknown{}) {
			t.Errorf("read back as %+v", again)
		}
	}
}
