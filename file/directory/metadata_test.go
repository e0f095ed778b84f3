package directory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/file/directory"
)

var now = time.UnixMicro(1_700_000_009_250_000)

// The expected values are what update_metadata of allmydata.dirnode makes of
// the same, but that what is not changed is as it was written.
func TestMetadataOfAChange(t *testing.T) {
	for name, c := range map[string]struct{ old, user, want directory.Metadata }{
		"new":                 {"", "", `{"tahoe": {"linkcrtime": 1700000009.25, "linkmotime": 1700000009.25}}`},
		"new, with user's":    {"", `{"a": 1}`, `{"a": 1, "tahoe": {"linkcrtime": 1700000009.25, "linkmotime": 1700000009.25}}`},
		"again":               {`{"tahoe": {"linkcrtime": 1.5, "linkmotime": 2.5}}`, "", `{"tahoe": {"linkcrtime": 1.5, "linkmotime": 1700000009.25}}`},
		"kept as it was":      {`{"é" :1.10, "\u00e9b":{"x" : [ ]} ,"tahoe": {"linkcrtime":1.50,"more":0}}`, "", `{"é": 1.10, "\u00e9b": {"x" : [ ]}, "tahoe": {"linkcrtime": 1.50, "more": 0, "linkmotime": 1700000009.25}}`},
		"the user's replace":  {`{"a": 1, "tahoe": {"linkcrtime": 1.5, "x": 2}}`, `{"b": 2}`, `{"b": 2, "tahoe": {"linkcrtime": 1.5, "x": 2, "linkmotime": 1700000009.25}}`},
		"but not the times":   {`{"tahoe": {"linkcrtime": 1.5}}`, `{"tahoe": {"linkcrtime": 99}, "b": 2}`, `{"b": 2, "tahoe": {"linkcrtime": 1.5, "linkmotime": 1700000009.25}}`},
		"of before Tahoe 1.4": {`{"ctime": 7.5, "mtime": 8.5}`, "", `{"ctime": 7.5, "mtime": 8.5, "tahoe": {"linkcrtime": 7.5, "linkmotime": 1700000009.25}}`},
	} {
		if got, err := c.old.Changed(c.user, now); err != nil || got != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []directory.Metadata{"[]", "{", "1", "{} {}", "null"} {
		if got, err := bad.Changed("", now); !errors.Is(err, directory.ErrEntry) {
			t.Errorf("%s: %s (%v)", bad, got, err)
		}
		if got, err := directory.Metadata("{}").Changed(bad, now); !errors.Is(err, directory.ErrEntry) {
			t.Errorf("user's %s: %s (%v)", bad, got, err)
		}
	}
}

func TestMetadataAreRead(t *testing.T) {
	m, err := directory.Metadata("").Changed("", now)
	if err != nil {
		t.Fatal(err)
	}
	if created, changed, ok := m.Linked(); !ok || !created.Equal(now) || !changed.Equal(now) {
		t.Errorf("%v and %v (%v)", created, changed, ok)
	}
	if _, _, ok := directory.Metadata(`{"tahoe": {"linkcrtime": 1}}`).Linked(); ok {
		t.Error("a time that is not there")
	}
	for text, want := range map[directory.Metadata]bool{
		`{"no-write": true}`: true, `{"no-write": 1}`: true, `{"no-write": "no"}`: true, `{"no-write": false, "no-write": true}`: true,
		`{"no-write": false}`: false, `{"no-write": null}`: false, `{"no-write": 0}`: false, `{}`: false, `{"a": {"no-write": true}}`: false,
	} {
		if got := text.NoWrite(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add(`{"tahoe": {"linkcrtime": 1.5}, "a": "\u00e9"}`)
	f.Add(`{"a":1,"a":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		m := directory.Metadata(text)
		got, err := m.Changed("", now)
		if text != "" && (err == nil) != (m.Validate() == nil) {
			t.Errorf("%q: %v, but %v", text, err, m.Validate())
		}
		if err != nil {
			return
		}
		if _, changed, ok := got.Linked(); ok && !changed.Equal(now) {
			t.Errorf("%q becomes %q, changed at %v", text, got, changed)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%q becomes %q: %v", text, got, err)
		}
	})
}
