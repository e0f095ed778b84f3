package scale

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
)

// TestConnectionsLeaveNothing: after a thousand clients came to a server, said hello
// and went there are as many goroutines as before, and no more than some bytes of
// each: neither side keeps what it knew of the other.
func TestConnectionsLeaveNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	key := keyOf(0)
	l, err := serve(key, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := p2p.NewDialer(p2p.Options{})
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: l.Hints(), Connections: transport.DirectConnections}
	come := func(many int) {
		for range many {
			if err := visit(d, target); err != nil {
				t.Fatal(err)
			}
		}
	}
	come(100)
	before := atRest(t)
	const many = 1000
	come(many)
	after := atRest(t)
	if grown := after.less(before); grown.goroutines > 0 || grown.live > many*maxLeft {
		t.Errorf("%d goroutines and %d bytes more than before", grown.goroutines, grown.live)
	}
}

// maxLeft is how many bytes there may be of a connection that is over.
const maxLeft = 64

// visit connects, waits for the answer to a hello, and goes.
func visit(d transport.Dialer, target transport.Target) error {
	var ended sync.WaitGroup
	var failed error
	ended.Add(1)
	d.Dial(target, transport.SessionEvents{Closed: func(error) { ended.Done() }}, func(s transport.Session, err error) {
		if err != nil {
			failed = err
			ended.Done()
			return
		}
		c := s.Open(transport.Storage, func(ev transport.Event) {
			if _, ok := ev.(transport.Received); ok {
				s.Close()
			}
		}, 1)
		c.Send(wire.Frame{ID: 1, Message: &wire.Hello{Version: wire.Version, MaxBody: wire.MaxRead, MaxRequests: 1}})
	})
	ended.Wait()
	return failed
}

// atRest is what there is once nothing ends any more.
func atRest(t testing.TB) cost {
	t.Helper()
	c := spent(t)
	for {
		<-time.After(look)
		next := spent(t)
		if next.goroutines == c.goroutines {
			return next
		}
		c = next
	}
}
