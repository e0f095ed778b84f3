package lease

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// Every fuzz target has a corpus in testdata/fuzz: without one a run of a few
// seconds never gets past the first length field.
func TestFuzzTargetsHaveCorpora(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "fuzz_test.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	targets := 0
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "Fuzz") {
			continue
		}
		targets++
		if entries, err := os.ReadDir("testdata/fuzz/" + f.Name.Name); err != nil || len(entries) == 0 {
			t.Errorf("%s has no corpus: %v", f.Name.Name, err)
		}
	}
	if targets != 13 {
		t.Errorf("%d fuzz targets, expected 13", targets)
	}
}

func FuzzDecodeChain(f *testing.F) {
	f.Add(goldenBytes(f, "certificates.txt", 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChain(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Encode(), b) {
			t.Errorf("two spellings of one chain: %x and %x", b, c.Encode())
		}
		if c.Len() > MaxCertificates || len(c.Certificates()) != c.Len() {
			t.Errorf("chain of %d", c.Len())
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add(goldenBytes(f, "request.txt", 0), true)
	f.Add(goldenBytes(f, "request.txt", 1), false)
	f.Fuzz(func(t *testing.T, b []byte, alone bool) {
		r, err := decodeRequest(b, alone)
		if err != nil {
			return
		}
		if !bytes.Equal(r.envelope.encode(), b) || !bytes.Equal(encode(r.request), r.body) {
			t.Errorf("two spellings of one request: %x", b)
		}
	})
}

// Without the keys, nothing is accepted but what was signed.
func FuzzVerify(f *testing.F) {
	chain, request := goldenBytes(f, "certificates.txt", 1), goldenBytes(f, "request.txt", 1)
	f.Add(chain, request)
	f.Fuzz(func(t *testing.T, c, r []byte) {
		_, _, err := Verify(c, r, inputAt("S", "P", "alice"))
		if err != nil {
			sentinelOf(t, err)
			return
		}
		if !bytes.Equal(c, chain) && !bytes.Equal(c, []byte{0x80}) {
			t.Errorf("accepted chain %x", c)
		}
	})
}

func FuzzReferenceCheck(f *testing.F) {
	genuine := [][]byte{goldenBytes(f, "reference.txt", 0), goldenBytes(f, "reference.txt", 1)}
	f.Add(genuine[0])
	f.Add(genuine[1])
	f.Fuzz(func(t *testing.T, secret []byte) {
		_, err := goldenKeys.Check(secret, standingOf("alice"), noon)
		if err == nil && !bytes.Equal(secret, genuine[0]) && !bytes.Equal(secret, genuine[1]) {
			t.Errorf("accepted %x", secret)
		}
	})
}

// What is under a good seal may still be odd: the decoder behind it is tried
// with any body.
func FuzzSealedLimits(f *testing.F) {
	f.Add(goldenBytes(f, "reference.txt", 1)[referenceHeader:])
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := goldenKeys.Check(goldenKeys[0].seal(body), standingOf("alice"), noon)
		if err != nil {
			sentinelOf(t, err)
			return
		}
		if g := r.Grant; g.Root != pub("alice") || g.Keys[0] != g.Root || g.Effective.Operation == nil || len(g.Pairs) >= len(g.Keys) {
			t.Errorf("odd grant %s from %x", showGrant(g), body)
		}
	})
}

func FuzzReadAuthority(f *testing.F) {
	f.Add(mustText(f, sampleAuthority(f)))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ReadAuthority(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := ReadAuthority(bytes.NewReader(mustText(t, a)))
		if err != nil || !sameAuthority(a, again) {
			t.Errorf("written again it reads otherwise: %v", err)
		}
	})
}

func FuzzReadPasted(f *testing.F) {
	f.Add(samplePasted(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ReadPasted(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := ReadPasted(bytes.NewReader(pastedText(t, p)))
		if err != nil || !samePasted(p, again) {
			t.Errorf("written again it reads otherwise: %v", err)
		}
	})
}

func FuzzParseAccount(f *testing.F) {
	f.Add(AccountOf(seedOf("alice")).Text())
	f.Add(OneKeyAccount(seedOf("alice")).Text())
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := ParseAccount(text); err == nil && a.Text() != strings.TrimSpace(text) {
			t.Errorf("two texts of one account")
		}
	})
}

func FuzzReadCard(f *testing.F) {
	f.Add(goldenBytes(f, "membership.txt", 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		card, err := ReadCard(b, pub("manager"))
		if err != nil {
			return
		}
		if !bytes.Equal(card.Chain.Encode(), b) || card.Chain.Len() != 1 {
			t.Errorf("two spellings of one card: %x", b)
		}
	})
}

func FuzzDecodeKeyList(f *testing.F) {
	f.Add(goldenBytes(f, "membership.txt", 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeKeyList(b)
		if err != nil {
			return
		}
		if !bytes.Equal(list.encode(), b) || len(list.Keys) > MaxGridServers {
			t.Errorf("two spellings of one list: %x", b)
		}
		list.Holds()
	})
}

func FuzzOpenServerList(f *testing.F) {
	f.Add(goldenBytes(f, "membership.txt", 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := OpenServerList(b, pub("manager"))
		if err != nil {
			return
		}
		if again, err := list.Sign(keyOf("manager")); err != nil || !bytes.Equal(again, b) {
			t.Errorf("two spellings of one list: %x, %v", b, err)
		}
	})
}

// No checksum keeps anybody from writing what he likes into a renewal cap: what is
// under it is tried with any body.
func FuzzReadRenewalCap(f *testing.F) {
	f.Add(goldenBytes(f, "renewalcap.txt", 0)[textHeader:])
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := renewalKind.write(body, 1)
		if err != nil {
			return
		}
		c, err := ReadRenewalCap(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrRenewalCap) {
				t.Errorf("refused as %v", err)
			}
			return
		}
		if !bytes.Equal(capText(t, c), text) || c.Leases() == 0 || c.Key().IsZero() {
			t.Errorf("written again it reads otherwise: %+v", c)
		}
	})
}

// Nor into a repair cap.
func FuzzReadRepairCaps(f *testing.F) {
	f.Add(goldenBytes(f, "repaircap.txt", 0)[textHeader:])
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := repairKind.write(body, 1)
		if err != nil {
			return
		}
		caps, err := ReadRepairCaps(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrRepairCap) {
				t.Errorf("refused as %v", err)
			}
			return
		}
		_, ueb := caps[0].File()
		if !bytes.Equal(repairText(t, caps[0]), text) || caps[0].Key().IsZero() || ueb == (UEBHash{}) {
			t.Errorf("written again it reads otherwise: %+v", caps[0])
		}
	})
}
