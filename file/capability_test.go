package file_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/tarn-grid/tarn/file"
)

// capabilities holds one of each kind, printed by Tahoe-LAFS 1.20.0 from the
// key bytes 0…15 and the hash bytes 32…63.
var capabilities = map[file.Kind]string{
	"CHK":                "URI:CHK:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q:3:10:1000",
	"CHK-Verifier":       "URI:CHK-Verifier:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q:3:10:1000",
	"LIT":                "URI:LIT:nbswy3dpeb3w64tmmq",
	"SSK":                "URI:SSK:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"SSK-RO":             "URI:SSK-RO:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"SSK-Verifier":       "URI:SSK-Verifier:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"MDMF":               "URI:MDMF:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"MDMF-RO":            "URI:MDMF-RO:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"MDMF-Verifier":      "URI:MDMF-Verifier:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2":               "URI:DIR2:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2-RO":            "URI:DIR2-RO:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2-Verifier":      "URI:DIR2-Verifier:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2-MDMF":          "URI:DIR2-MDMF:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2-MDMF-RO":       "URI:DIR2-MDMF-RO:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2-MDMF-Verifier": "URI:DIR2-MDMF-Verifier:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q",
	"DIR2-CHK":           "URI:DIR2-CHK:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q:3:10:1000",
	"DIR2-CHK-Verifier":  "URI:DIR2-CHK-Verifier:aaaqeayeaudaocajbifqydiob4:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q:3:10:1000",
	"DIR2-LIT":           "URI:DIR2-LIT:",
}

func TestEachKindPrintsAsItWasRead(t *testing.T) {
	for kind, text := range capabilities {
		c, err := file.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if c.String() != text || c.Kind() != kind {
			t.Errorf("%s prints as %s %q, want %q", kind, c.Kind(), c, text)
		}
		if _, ok := c.(file.Unknown); ok {
			t.Errorf("%s is not known", kind)
		}
		writable := kind == "SSK" || kind == "MDMF" || kind == "DIR2" || kind == "DIR2-MDMF"
		if c.Writable() != writable {
			t.Errorf("%s: Writable() = %v", kind, c.Writable())
		}
		immutable := strings.Contains(string(kind), "CHK") || strings.Contains(string(kind), "LIT")
		if c.Immutable() != immutable {
			t.Errorf("%s: Immutable() = %v", kind, c.Immutable())
		}
	}
}

// The verifier was printed by Tahoe: allmydata.uri.CHKFileURI(...).get_verify_cap().
func TestReadCapabilityGivesVerifier(t *testing.T) {
	c, err := file.Parse(capabilities["CHK"])
	if err != nil {
		t.Fatal(err)
	}
	chk := c.(file.CHK)
	const want = "URI:CHK-Verifier:hdis5iaveku6lnlaiccydyid7q:eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy7q:3:10:1000"
	if got := chk.Verifier().String(); got != want {
		t.Errorf("verifier is %s, want %s", got, want)
	}
	if !strings.HasPrefix(want, "URI:CHK-Verifier:"+chk.StorageIndex().String()) {
		t.Errorf("storage index is %s", chk.StorageIndex())
	}
}

func TestParseRefusesDamage(t *testing.T) {
	chk, ssk := capabilities["CHK"], capabilities["SSK"]
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":             {"", file.ErrNotCapability},
		"a path":              {"/tmp/file", file.ErrNotCapability},
		"a word":              {"hello", file.ErrNotCapability},
		"a space inside":      {"URI:LIT:aa aa", file.ErrNotCapability},
		"very long":           {"URI:LIT:" + strings.Repeat("a", file.MaxText), file.ErrNotCapability},
		"no body":             {"URI:CHK:", file.ErrMalformed},
		"cut off":             {chk[:len(chk)-4], file.ErrMalformed},
		"cut in the key":      {chk[:20], file.ErrMalformed},
		"upper case":          {"URI:CHK:" + strings.ToUpper(chk[8:]), file.ErrMalformed},
		"one field too many":  {chk + ":1", file.ErrMalformed},
		"k above N":           {replaceTail(chk, "11:10:1000"), file.ErrMalformed},
		"no k":                {replaceTail(chk, "0:10:1000"), file.ErrMalformed},
		"N above 256":         {replaceTail(chk, "3:257:1000"), file.ErrMalformed},
		"size 0":              {replaceTail(chk, "3:10:0"), file.ErrMalformed},
		"negative size":       {replaceTail(chk, "3:10:-1"), file.ErrMalformed},
		"size with zeros":     {replaceTail(chk, "3:10:01000"), file.ErrMalformed},
		"size beyond 2^64":    {replaceTail(chk, "3:10:18446744073709551617"), file.ErrMalformed},
		"size beyond 1 PiB":   {replaceTail(chk, "3:10:1125899906842625"), file.ErrMalformed},
		"LIT of odd bits":     {"URI:LIT:ab", file.ErrMalformed},
		"LIT of one letter":   {"URI:LIT:a", file.ErrMalformed},
		"SSK with hint":       {ssk + ":3:131073", file.ErrMalformed},
		"SSK without hash":    {ssk[:34], file.ErrMalformed},
		"directory, damaged":  {"URI:DIR2-CHK:aaaa:bbbb:3:10:1000", file.ErrMalformed},
		"writable behind ro":  {"ro." + ssk, file.ErrClaim},
		"mutable behind imm":  {"imm." + capabilities["SSK-RO"], file.ErrClaim},
		"writable dir behind": {"ro." + capabilities["DIR2"], file.ErrClaim},
	} {
		got, err := file.Parse(c.text)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: Parse = %v, %v; want %v", name, got, err, c.want)
		}
		if err != nil && len(c.text) > 30 && strings.Contains(err.Error(), c.text[8:30]) {
			t.Errorf("%s: the error repeats the capability: %v", name, err)
		}
	}
}

func replaceTail(chk, tail string) string {
	return strings.Join(strings.SplitN(chk, ":", 5)[:4], ":") + ":" + tail
}

func TestPrefixesThatHoldAreDropped(t *testing.T) {
	for text, want := range map[string]string{
		"ro." + capabilities["SSK-RO"]:           capabilities["SSK-RO"],
		"ro." + capabilities["CHK"]:              capabilities["CHK"],
		"imm." + capabilities["DIR2-CHK"]:        capabilities["DIR2-CHK"],
		" " + capabilities["CHK"] + "\r\n":       capabilities["CHK"],
		capabilities["MDMF"] + ":3:131073":       capabilities["MDMF"],
		capabilities["DIR2-MDMF-RO"] + ":3:1:x:": capabilities["DIR2-MDMF-RO"],
	} {
		c, err := file.Parse(text)
		if err != nil || c.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", text, c, err, want)
		}
	}
}

func TestUnknownKindsAreKept(t *testing.T) {
	for text, want := range map[string]struct {
		kind                file.Kind
		writable, immutable bool
	}{
		"URI:CHK2:abc:1:2":       {"CHK2", true, false},
		"lafs://from_the_future": {"lafs", true, false},
		"ro.URI:FUTURE:abc":      {"FUTURE", false, false},
		"imm.lafs:abc":           {"lafs", false, true},
	} {
		c, err := file.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, ok := c.(file.Unknown); !ok || c.String() != text || c.Kind() != want.kind ||
			c.Writable() != want.writable || c.Immutable() != want.immutable {
			t.Errorf("Parse(%q) = %#v of kind %q, writable %v, immutable %v", text, c, c.Kind(), c.Writable(), c.Immutable())
		}
	}
}

func TestPublishedCapabilitiesAreRead(t *testing.T) {
	var vectors struct {
		Vector []struct{ Expected string } `yaml:"vector"`
	}
	b, err := os.ReadFile("testdata/tahoe_caps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Vector) < 13 {
		t.Fatalf("only %d vectors", len(vectors.Vector))
	}
	for _, v := range vectors.Vector {
		c, err := file.Parse(v.Expected)
		if err != nil || c.String() != v.Expected {
			t.Errorf("%s reads as %v (%v)", v.Expected, c, err)
		}
	}
}

func TestParams(t *testing.T) {
	if err := file.DefaultParams().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, p := range []file.Params{{1, 1, 1, 1}, {256, 256, 256, file.MaxSegmentSize}, {1, 1, 256, 1}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []file.Params{
		{}, {0, 1, 1, 1}, {2, 1, 1, 1}, {1, 0, 1, 1}, {1, 2, 1, 1}, {1, 1, 257, 1}, {1, 1, 0, 1},
		{1, 1, 1, 0}, {1, 1, 1, -1}, {1, 1, 1, file.MaxSegmentSize + 1}, {-1, 1, 1, 1},
	} {
		if err := p.Validate(); !errors.Is(err, file.ErrParams) {
			t.Errorf("%+v was accepted (%v)", p, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range capabilities {
		f.Add(text)
		f.Add("ro." + text)
		f.Add(text[:len(text)-1])
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := file.Parse(text)
		if err != nil {
			return
		}
		again, err := file.Parse(c.String())
		if err != nil || again != c {
			t.Errorf("%q reads as %q, which reads as %v (%v)", text, c, again, err)
		}
	})
}

func TestFuzzCorpusIsThere(t *testing.T) {
	files, err := filepath.Glob("testdata/fuzz/FuzzParse/*")
	if err != nil || len(files) < len(capabilities) {
		t.Fatalf("%d seeds for %d kinds (%v)", len(files), len(capabilities), err)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
			t.Errorf("%s is not a corpus entry (%v)", name, err)
		}
	}
}

func TestKeyIsReadAsBytes(t *testing.T) {
	c, err := file.Parse(capabilities["CHK"])
	if err != nil {
		t.Fatal(err)
	}
	chk := c.(file.CHK)
	if chk.Key != (file.Key{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}) || chk.UEBHash[0] != 32 || chk.UEBHash[31] != 63 ||
		chk.Needed != 3 || chk.Total != 10 || chk.Size != 1000 {
		t.Errorf("read as %+v", chk)
	}
}
