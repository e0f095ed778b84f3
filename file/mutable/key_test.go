package mutable_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
)

func TestPublishedVectors(t *testing.T) {
	all := vectors(t)
	for _, v := range all {
		f := mutable.SDMF
		if v.Format.Params.Format == "mdmf" {
			f = mutable.MDMF
		}
		if got := keyOf(t, v).Capability(f).String(); got != v.Expected {
			t.Errorf("%s, want %s", got, v.Expected)
		}
	}
	if len(all) != 4 {
		t.Errorf("%d cases were tried (want 4)", len(all))
	}
}

func TestPrivateKeyIsOpenedByItsCapabilityAlone(t *testing.T) {
	key, other := goldenKey(t), keyOf(t, vectors(t)[1])
	c := key.Capability(mutable.SDMF)
	opened, err := mutable.OpenKey(c, key.Encrypted())
	if err != nil || opened.Capability(mutable.SDMF) != c || !bytes.Equal(opened.Encrypted(), key.Encrypted()) {
		t.Errorf("opened as %v (%v)", opened, err)
	}
	forged := c
	forged.Fingerprint[0] ^= 1
	for name, c := range map[string]file.Mutable{
		"another":             other.Capability(mutable.SDMF),
		"read-only":           c.ReadOnly(),
		"of another public":   forged,
		"read-only of itself": c.Verifier(),
	} {
		if _, err := mutable.OpenKey(c, key.Encrypted()); !errors.Is(err, mutable.ErrKey) {
			t.Errorf("with the capability %s: %v", name, err)
		}
	}
	if _, err := mutable.OpenKey(c, nil); !errors.Is(err, mutable.ErrKey) {
		t.Errorf("without a key: %v", err)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mutable.NewKey(short); !errors.Is(err, mutable.ErrKey) {
		t.Errorf("a key of 1024 bits: %v", err)
	}
	for _, text := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"} {
		if _, err := mutable.ParsePEM([]byte(text)); !errors.Is(err, mutable.ErrKey) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The simulation repeats what is done with the same randomness.
func TestSignatureDependsOnNothingButItsArguments(t *testing.T) {
	key := goldenKey(t)
	p := mutable.Prefix{Layout: layoutOf(t, mutable.SDMF, 10, 2, 3, 0), Seqnum: 5}
	first, err := key.Sign(p, bytes.NewReader(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	again, err := key.Sign(p, bytes.NewReader(make([]byte, 32)))
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("%x, then %x (%v)", first, again, err)
	}
	if _, err := key.Sign(p, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("signed without randomness")
	}
}
