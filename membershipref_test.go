package tarn

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

func exampleMembership() MembershipRef {
	var r MembershipRef
	r.Secret = [16]byte{1, 2, 3}
	r.Manager.Server, r.Manager.Hints = grid.ServerID{9}, []grid.Hint{"/ip4/192.0.2.7/tcp/3459", "/dns/accounts.example.org/tcp/3459"}
	r.Introducers = []IntroducerRef{exampleRef, {Server: grid.ServerID{8}, Hints: []grid.Hint{"/dns/example.org/tcp/3458"}}}
	return r
}

func TestMembershipRefHasOneTextForm(t *testing.T) {
	r := exampleMembership()
	text, err := r.Text()
	if err != nil || !strings.HasPrefix(text, "tarn:membership/aebagaaaaaaaaaaaaaaaaaaaaa+v0-") {
		t.Fatalf("%s, %v", text, err)
	}
	for _, same := range []string{text, " " + text + "\n", text[:60] + "\r\n  " + text[60:]} {
		if got, err := ParseMembershipRef(same); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("ParseMembershipRef(%q) = %v, %v", same, got, err)
		}
	}
	if s := r.String(); strings.Contains(s, "aebag") {
		t.Errorf("String shows the secret: %s", s)
	}
	r.Introducers = nil
	alone, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseMembershipRef(alone); err != nil || len(got.Introducers) != 0 {
		t.Errorf("without introducers: %v, %v", got, err)
	}
	r.Manager.Hints = []grid.Hint{"/dns/a+b/tcp/1"}
	if _, err := r.Text(); !errors.Is(err, ErrMembershipRef) {
		t.Errorf("an address that can't stand there: %v", err)
	}
}

func TestMembershipRefRefused(t *testing.T) {
	text, err := exampleMembership().Text()
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"empty": "", "an introducer": exampleRefText, "no node": text[:len(membershipPrefix)+26],
		"short secret": membershipPrefix + text[len(membershipPrefix)+1:], "cut off": text[:len(text)-40],
		"no address": text[:strings.Index(text, "@")], "many nodes": text + strings.Repeat("+"+strings.TrimPrefix(exampleRefText, introducerPrefix), 20),
	} {
		_, err := ParseMembershipRef(bad)
		if !errors.Is(err, ErrMembershipRef) || strings.Contains(err.Error(), "ebagaaaaaaa") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParseMembershipRef(f *testing.F) {
	text, err := exampleMembership().Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("tarn:membership/aebagaaaaaaaaaaaaaaaaaaaaa+v0-@")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseMembershipRef(text)
		if err != nil {
			return
		}
		again, err := r.Text()
		if err != nil {
			t.Fatalf("%q can't be written: %v", text, err)
		}
		if back, err := ParseMembershipRef(again); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%q: %v, %v", text, back, err)
		}
	})
}
