package tahoe_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/web/tahoe"
)

func writable(mdmf bool) file.Mutable {
	return file.NewMutable(mdmf, file.WriteKey{1}, tagged.Hash{2})
}

// TestDescribe: each kind says what it is, and no more than the capability
// gives.
func TestDescribe(t *testing.T) {
	chk := file.CHK{Needed: 3, Total: 10, Size: 1000}
	mutable := writable(false)
	for _, c := range []struct {
		capability file.Capability
		want       string
	}{
		{chk, `["filenode",{"mutable":false,"format":"CHK","size":1000,"ro_uri":"` + chk.String() + `","verify_uri":"` + chk.Verifier().String() + `"}]`},
		{file.LIT{}, `["filenode",{"mutable":false,"format":"CHK","size":0,"ro_uri":"URI:LIT:"}]`},
		{mutable, `["filenode",{"mutable":true,"format":"SDMF","ro_uri":"` + mutable.ReadOnly().String() + `","rw_uri":"` + mutable.String() + `","verify_uri":"` + mutable.Verifier().String() + `"}]`},
		{writable(true).ReadOnly(), `["filenode",{"mutable":true,"format":"MDMF","ro_uri":"` + writable(true).ReadOnly().String() + `","verify_uri":"` + writable(true).Verifier().String() + `"}]`},
		{mutable.Directory(), `["dirnode",{"mutable":true,"ro_uri":"` + mutable.ReadOnly().Directory().String() + `","rw_uri":"` + mutable.Directory().String() + `","verify_uri":"` + mutable.Verifier().Directory().String() + `"}]`},
		{file.Unknown{Text: "URI:NEW:x"}, `["unknown",{"mutable":true,"rw_uri":"URI:NEW:x"}]`},
		{file.Unknown{Text: "ro.URI:NEW:x"}, `["unknown",{"ro_uri":"ro.URI:NEW:x"}]`},
		{file.Unknown{Text: "imm.URI:NEW:x"}, `["unknown",{"mutable":false,"ro_uri":"imm.URI:NEW:x"}]`},
	} {
		kind, n := tahoe.Describe(tarn.FoundOf(c.capability))
		got, err := json.Marshal([]any{kind, n})
		if err != nil || string(got) != c.want {
			t.Errorf("%s\nwant %s\n%v", got, c.want, err)
		}
	}
}

// TestDirectoryRoundTrip: what is written is ASCII, and is read as it was.
func TestDirectoryRoundTrip(t *testing.T) {
	c := writable(false).Directory()
	d, err := directory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, metadata := range map[string]string{
		"plain": "", "ä\u0000\"\\<b>\u2028": `{"note": "é😀 <>", "n": 1e400}`, "😀": `{"bad": "` + "\xff" + `"}`, "\x7f": "",
	} {
		if err := d.Set(directory.Entry{Name: name, Read: file.LIT{Data: name}, Metadata: directory.Metadata(metadata)}); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	if err := tahoe.WriteDirectory(&text, tarn.FoundOf(c), d); err != nil {
		t.Fatal(err)
	}
	for i, b := range text.Bytes() {
		if b != '\n' && (b < ' ' || b > '~') {
			t.Fatalf("byte %#x at %d of %s", b, i, &text)
		}
	}
	o, err := tahoe.Read(&text)
	if err != nil {
		t.Fatal(err)
	}
	if o.Kind != tahoe.Directory || o.Write != c.String() || o.Format != tahoe.SDMF || len(o.Children) != d.Len() {
		t.Errorf("%+v", o)
	}
	for _, name := range d.Names() {
		e, _ := d.Entry(name)
		if got := o.Children[name]; got.Kind != tahoe.File || got.Read != e.Read.String() || len(got.Metadata) == 0 {
			t.Errorf("%q: %+v", name, got)
		}
	}
	if got := string(o.Children["ä\u0000\"\\<b>\u2028"].Metadata); !strings.Contains(got, "1e400") {
		t.Errorf("metadata %s", got)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", `["filenode"]`, `["filenode", 1]`, `[1, {}]`, `["dirnode", {"children": {"a": 1}}]`, `["dirnode", {"children": []}]`} {
		if o, err := tahoe.Read(strings.NewReader(text)); !errors.Is(err, tahoe.ErrNode) {
			t.Errorf("%s is %+v, %v", text, o, err)
		}
	}
}

// FuzzRead: what is read has nothing in it that can't be written.
func FuzzRead(f *testing.F) {
	f.Add(`["dirnode", {"children": {"a": ["filenode", {"ro_uri": "URI:LIT:", "size": 0, "metadata": {"x": 1}}]}, "mutable": false}]`)
	f.Add(`["unknown", {}]`)
	f.Fuzz(func(t *testing.T, text string) {
		o, err := tahoe.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for name, c := range o.Children {
			if err := tahoe.WriteNode(&bytes.Buffer{}, c.Kind, c.Node); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}
