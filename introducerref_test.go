package tarn

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

var exampleRef = IntroducerRef{
	Server: grid.ServerID{1, 2, 3},
	Hints:  []grid.Hint{"/ip4/192.0.2.7/tcp/3456", "/dns/example.org/tcp/3456"},
}

const exampleRefText = "tarn:introducer/v0-aebagaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" +
	"@/ip4/192.0.2.7/tcp/3456,/dns/example.org/tcp/3456"

func TestIntroducerRefHasOneTextForm(t *testing.T) {
	if got := exampleRef.String(); got != exampleRefText {
		t.Errorf("String() = %s\nwant       %s", got, exampleRefText)
	}
	for _, text := range []string{exampleRefText, "  " + exampleRefText + "\n"} {
		got, err := ParseIntroducerRef(text)
		if err != nil || !reflect.DeepEqual(got, exampleRef) {
			t.Errorf("ParseIntroducerRef(%q) = %v, %v", text, got, err)
		}
	}
}

func TestIntroducerRefInJSON(t *testing.T) {
	b, err := json.Marshal(exampleRef)
	if err != nil || string(b) != `"`+exampleRefText+`"` {
		t.Fatalf("Marshal = %s, %v", b, err)
	}
	var back IntroducerRef
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, exampleRef) {
		t.Errorf("Unmarshal = %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"tarn:introducer/"`), &back); !errors.Is(err, ErrIntroducerRef) {
		t.Errorf("an empty reference was read: %v", err)
	}
}

func TestBadIntroducerRefs(t *testing.T) {
	key, addresses, _ := strings.Cut(strings.TrimPrefix(exampleRefText, introducerPrefix), "@")
	for name, text := range map[string]string{
		"empty":                 "",
		"a capability":          "URI:LIT:krugkidfnzsc4",
		"upper case":            strings.ToUpper(exampleRefText),
		"no addresses":          introducerPrefix + key,
		"empty addresses":       introducerPrefix + key + "@",
		"key cut off":           introducerPrefix + key[:40] + "@" + addresses,
		"key of another kind":   introducerPrefix + "pub-" + key + "@" + addresses,
		"unused bits of key":    introducerPrefix + key[:len(key)-1] + "b@" + addresses,
		"trailing comma":        exampleRefText + ",",
		"no slash":              introducerPrefix + key + "@192.0.2.7:3456",
		"only a name":           introducerPrefix + key + "@/ip4",
		"no value":              introducerPrefix + key + "@/ip4/",
		"a blank":               introducerPrefix + key + "@/dns/example org/tcp/1",
		"a line break":          introducerPrefix + key + "@/dns/example\n/tcp/1",
		"foreign letters":       introducerPrefix + key + "@/dns/exämple.org/tcp/1",
		"two at signs":          exampleRefText + "@/ip4/192.0.2.8/tcp/1",
		"the same address":      exampleRefText + ",/ip4/192.0.2.7/tcp/3456",
		"an address too long":   introducerPrefix + key + "@/dns/" + strings.Repeat("a", maxReferenceHint),
		"far too many of them":  introducerPrefix + key + "@/ip4/a" + strings.Repeat(",/ip4/b", maxReferenceHints),
		"a scheme, then no key": introducerPrefix + "@" + addresses,
	} {
		if _, err := ParseIntroducerRef(text); !errors.Is(err, ErrIntroducerRef) {
			t.Errorf("%s: %q was accepted (%v)", name, text, err)
		}
	}
}

func FuzzIntroducerRef(f *testing.F) {
	f.Add(exampleRefText)
	f.Add(" " + exampleRefText + "\r\n")
	f.Add("tarn:introducer/v0-@/ip4/")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseIntroducerRef(text)
		if err != nil {
			return
		}
		if got := ref.String(); got != strings.TrimSpace(text) {
			t.Errorf("%q prints as %q", text, got)
		}
	})
}
