package tarn

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestOnionStates: what is told of a service is since when it is up, or is not;
// why not is the newest reason.
func TestOnionStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		role := &StorageConfig{Listen: []string{"onion:3457"}, OnionKey: key}
		n := &Node{config: Config{Storage: role}}
		begun := time.Now()
		for minute, c := range []struct {
			err   error
			since time.Duration
		}{
			{errors.New("no Tor yet"), 0}, {errors.New("Tor is off"), 0},
			{nil, 2 * time.Minute}, {nil, 2 * time.Minute},
			{errors.New("Tor is gone"), 4 * time.Minute}, {errors.New("Tor is off"), 4 * time.Minute},
		} {
			n.onions.changed(key, c.err)
			var s Status
			if err := n.onionStatus(t.Context(), &s); err != nil || len(s.Onions) != 1 {
				t.Fatalf("%+v, %v", s.Onions, err)
			}
			if o := s.Onions[0]; o.Up != (c.err == nil) || o.Since.Sub(begun) != c.since || o.LastError != errorText(c.err) {
				t.Errorf("minute %d: %+v", minute, o)
			}
			time.Sleep(time.Minute)
		}
	})
}
