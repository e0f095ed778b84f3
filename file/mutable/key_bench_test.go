package mutable_test

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/tarn-grid/tarn/file/mutable"
)

// A key and a signature are what Go's standard library makes of them: a directory
// needs one key, and each of its versions a signature.
func BenchmarkNewKey(b *testing.B) {
	for b.Loop() {
		private, err := rsa.GenerateKey(nil, mutable.KeyBits)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := mutable.NewKey(private); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkedKey(b *testing.B) *mutable.Key {
	b.Helper()
	private, err := rsa.GenerateKey(nil, mutable.KeyBits)
	if err != nil {
		b.Fatal(err)
	}
	key, err := mutable.NewKey(private)
	if err != nil {
		b.Fatal(err)
	}
	return key
}

func BenchmarkSign(b *testing.B) {
	key := benchmarkedKey(b)
	for b.Loop() {
		if _, err := key.Sign(mutable.Prefix{Seqnum: 1}, rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

// A key that was kept is parsed before it is used.
func BenchmarkParseKey(b *testing.B) {
	der := benchmarkedKey(b).PrivateKey()
	for b.Loop() {
		if _, err := mutable.ParseKey(der); err != nil {
			b.Fatal(err)
		}
	}
}
