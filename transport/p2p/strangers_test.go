package p2p

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// TestDocumentedHandshakes: what docs/performance.md says of connections in
// handshake is what the code allows.
func TestDocumentedHandshakes(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{}.withDefaults()
	row := fmt.Sprintf("| in handshake | %.0f s | %d over TCP and relays, and %d a second; a quarter as many more over QUIC |", o.HandshakeTimeout.Seconds(), o.Handshakes, o.HandshakeRate)
	if !strings.Contains(string(page), "\n"+row+"\n") {
		t.Errorf("docs/performance.md does not say: %s", row)
	}
	if window := fmt.Sprintf("windows of %d KiB", earlyWindow>>10); !strings.Contains(string(page), window) {
		t.Errorf("docs/performance.md does not say: %s", window)
	}
}

// coming is a connection that was just accepted.
func coming(t *testing.T, l *connLimits, from string) (*pretended, network.ConnManagementScope) {
	t.Helper()
	c := &pretended{ma.StringCast(from)}
	l.InterceptAccept(c)
	s, err := l.OpenConnection(network.DirInbound, true, c.from)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// More handshakes than may be in a second take as long as that needs, in order.
func TestHandshakesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, each, more = 8, 10, 30
		l := newConnLimits(Options{Connections: 1000, Handshakes: most, HandshakeRate: each}.withDefaults())
		begin := time.Now()
		order := make(chan int, most+more)
		var all sync.WaitGroup
		for n := range most + more {
			c, s := coming(t, l, fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", n+1))
			l.established(s.(*connScope)) // else one that waits has to go for the next
			all.Go(func() {
				if err := l.turn(t.Context(), c); err != nil {
					t.Errorf("handshake %d: %v", n, err)
				}
				order <- n
			})
			synctest.Wait()
		}
		all.Wait()
		if took, want := time.Since(begin), more*time.Second/each; took.Round(time.Second/each) != want {
			t.Errorf("%d handshakes took %v, want %v", most+more, took, want)
		}
		for at := range most + more {
			if n := <-order; n != at {
				t.Errorf("handshake %d had turn %d", n, at)
			}
		}
	})
}

// Those who had to go, or gave up, before their turn came have taken none.
func TestNobodyTakesATurnInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newConnLimits(Options{Connections: 1000, Handshakes: 100, HandshakeRate: 1}.withDefaults())
		l.turns.AllowN(time.Now(), 100)
		ctx, giveUp := context.WithCancel(t.Context())
		var others sync.WaitGroup
		wait := func(ctx context.Context, n int) network.ConnManagementScope {
			c, s := coming(t, l, fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", n))
			others.Go(func() {
				if l.turn(ctx, c) == nil {
					t.Errorf("connection %d has its turn", n)
				}
			})
			synctest.Wait()
			return s
		}
		first := wait(ctx, 1)
		var gone []network.ConnManagementScope
		for n := range 40 {
			gone = append(gone, wait(t.Context(), 2+n))
			wait(ctx, 102+n)
		}
		begin := time.Now()
		last := make(chan error)
		c, _ := coming(t, l, "/ip4/192.0.2.2/tcp/1")
		go func() { last <- l.turn(t.Context(), c) }()
		synctest.Wait()
		first.Done()
		for _, s := range gone {
			s.Done()
		}
		giveUp()
		if err := <-last; err != nil {
			t.Error(err)
		}
		others.Wait()
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("the turn of one who stayed came after %v", took)
		}
	})
}

// Over QUIC nobody waits.
func TestHandshakesOverQUICInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newConnLimits(Options{Handshakes: 40, HandshakeRate: 4}.withDefaults())
		come := func() (came int) {
			for range 100 {
				if s, err := l.OpenConnection(network.DirInbound, false, ma.StringCast("/ip4/192.0.2.1/udp/1/quic-v1")); err == nil {
					came++
					s.Done()
				}
			}
			return came
		}
		first := come()
		time.Sleep(2 * time.Second)
		if second := come(); first != 10 || second != 2 {
			t.Errorf("%d came at once and %d after two seconds, want 10 and 2", first, second)
		}
	})
}
