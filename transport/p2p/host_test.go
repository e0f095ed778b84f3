package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// BenchmarkHost is a new identity and its host, made and closed.
func BenchmarkHost(b *testing.B) {
	options := Options{}.withDefaults()
	for b.Loop() {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		h, err := newHost(key, options.muxer(bulkWindow), &network.NullResourceManager{}, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		if err := h.addTCP(); err != nil {
			b.Fatal(err)
		}
		if err := h.close(); err != nil {
			b.Fatal(err)
		}
	}
}
