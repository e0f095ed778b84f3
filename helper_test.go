package tarn

import (
	"errors"
	"reflect"
	"testing"
)

func TestHelperRef(t *testing.T) {
	want := HelperRef(exampleRef)
	got, err := ParseHelperRef(" " + want.String() + "\n")
	if err != nil || got.String() != want.String() {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ParseHelperRef(exampleRefText); !errors.Is(err, ErrHelperRef) {
		t.Errorf("an introducer's reference: %v", err)
	}
}

func FuzzParseHelperRef(f *testing.F) {
	f.Add(HelperRef(exampleRef).String())
	f.Add(exampleRefText)
	f.Add(helperPrefix + "v0-@/ip4/")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseHelperRef(text)
		if err != nil {
			if !errors.Is(err, ErrHelperRef) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if back, err := ParseHelperRef(r.String()); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%q: %v, %v", text, back, err)
		}
	})
}
