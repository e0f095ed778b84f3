//go:build integration

package tahoe_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/mutable"
)

// child is an entry as mutable.py has it: name, write and read capability, and
// metadata.
type child struct {
	name, write, read string
	metadata          any
}

// UnmarshalJSON reads a list of the four.
func (c *child) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&c.name, &c.write, &c.read, &c.metadata})
}

// MarshalJSON writes a list of the four.
func (c child) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{c.name, c.write, c.read, c.metadata})
}

// children are some of each kind, under names in many scripts.
func children(r *rand.Rand, n int, immutable bool) []child {
	random := func(kind file.Kind) string {
		var secret [16]byte
		var hash [32]byte
		for i := range hash {
			hash[i] = byte(r.Uint32())
		}
		copy(secret[:], hash[5:])
		switch kind {
		case file.KindCHK:
			return file.CHK{Key: secret, UEBHash: hash, Needed: 3, Total: 10, Size: 1 + r.Int64N(1e9)}.String()
		case file.KindLIT:
			return file.LIT{Data: string(hash[:r.IntN(32)])}.String()
		default:
			return file.NewMutable(kind == file.KindMDMF, secret, hash).String()
		}
	}
	kinds := []file.Kind{file.KindCHK, file.KindLIT}
	if !immutable {
		kinds = append(kinds, file.KindSSK, file.KindMDMF)
	}
	var all []child
	for i := range n {
		text := random(kinds[r.IntN(len(kinds))])
		c, _ := file.Parse(text)
		if r.IntN(2) == 0 && c.Kind() != file.KindLIT {
			text = file.Directory{File: c}.String()
		}
		e := child{name: fmt.Sprintf("%c%c %d", rune(0xa1+r.IntN(0x2000)), rune(0x1f300+r.IntN(200)), i), metadata: map[string]any{"i": float64(i)}}
		if c.Writable() {
			e.write = text
		} else {
			e.read = text
		}
		all = append(all, e)
	}
	if !immutable {
		all = append(all, child{"future", "lafs://write", "ro.lafs://read", map[string]any{}})
	}
	return append(all, child{"future, fixed", "", "imm.lafs://fixed", map[string]any{}})
}

// Each reads what the other wrote, and writes the same.
func TestDirectories(t *testing.T) {
	key, _ := newKey(t)
	r := rand.New(rand.NewPCG(1, 2))
	fixed, err := file.Parse("URI:DIR2-LIT:")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []file.Directory{key.Capability(mutable.SDMF).Directory(), key.Capability(mutable.MDMF).Directory(), fixed.(file.Directory)} {
		given := children(r, 200, c.Immutable())
		ours := pack(t, c, given)
		lesser, err := file.ReadOnly(c)
		if err != nil {
			t.Fatal(err)
		}
		answers := ask(t,
			call{"do": "pack", "capability": c.String(), "children": given},
			call{"do": "unpack", "capability": c.String(), "packed": hex.EncodeToString(ours)},
			call{"do": "unpack", "capability": lesser.String(), "packed": hex.EncodeToString(ours)})
		var theirs string
		if err := json.Unmarshal([]byte(answers[0]), &theirs); err != nil || theirs != hex.EncodeToString(ours) {
			t.Errorf("%s: Tahoe-LAFS writes another text (%v)", c.Kind(), err)
		}
		checkEntries(t, c, ours, answers[1])
		checkEntries(t, lesser.(file.Directory), ours, answers[2])
	}
}

func pack(t *testing.T, c file.Directory, all []child) []byte {
	t.Helper()
	d, err := directory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		metadata := "{}"
		if m := e.metadata.(map[string]any); len(m) > 0 {
			metadata = fmt.Sprintf(`{"i": %v}`, m["i"])
		}
		entry := directory.Entry{Name: e.name, Metadata: directory.Metadata(metadata)}
		if e.write != "" {
			entry.Write, _ = file.Parse(e.write)
		}
		if e.read != "" {
			entry.Read, _ = file.Parse(e.read)
		}
		if err := d.Set(entry); err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
	}
	text, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// checkEntries compares what is read of a text with what Tahoe reads.
func checkEntries(t *testing.T, c file.Directory, text []byte, answer string) {
	t.Helper()
	var want []child
	if err := json.Unmarshal([]byte(answer), &want); err != nil {
		t.Fatal(err)
	}
	d, err := directory.Parse(c, text)
	if err != nil || d.Len() != len(want) {
		t.Fatalf("%s: %d entries, Tahoe-LAFS reads %d (%v)", c.Kind(), d.Len(), len(want), err)
	}
	for i, name := range d.Names() {
		e, _ := d.Entry(name)
		got := child{name: e.Name, metadata: want[i].metadata}
		if e.Write != nil {
			got.write = e.Write.String()
		}
		if e.Read != nil {
			got.read = e.Read.String()
		}
		if e.Err != nil || got.name != want[i].name || got.write != want[i].write || got.read != want[i].read {
			t.Errorf("%s: %+v (%v), Tahoe-LAFS reads %+v", c.Kind(), got, e.Err, want[i])
		}
	}
}

// Every kind gives the lesser capabilities that Tahoe gives.
func TestLesserCapabilities(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var calls []call
	var all []file.Capability
	for _, e := range slices.Concat(children(r, 60, true), children(r, 60, false)) {
		c, err := file.Parse(e.write + e.read)
		if _, unknown := c.(file.Unknown); err != nil || unknown {
			continue
		}
		all = append(all, c)
		calls = append(calls, call{"do": "attenuate", "capability": c.String()})
	}
	for i, answer := range ask(t, calls...) {
		var want [2]string
		if err := json.Unmarshal([]byte(answer), &want); err != nil {
			t.Fatal(err)
		}
		read, err := file.ReadOnly(all[i])
		if err != nil || read.String() != want[0] {
			t.Errorf("read-only of %s: %v (%v), Tahoe-LAFS says %s", all[i], read, err, want[0])
		}
		verify, err := file.Verifier(all[i])
		if got := fmt.Sprint(verify); want[1] != "" && got != want[1] || (want[1] == "") != (err != nil) {
			t.Errorf("verifier of %s: %s (%v), Tahoe-LAFS says %s", all[i], got, err, want[1])
		}
	}
}
