//go:build integration

package nodes

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and one server, counts what clients send, and
// can be made to fail as networks do.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	changed *sync.Cond
	conns   map[net.Conn]struct{}
	sent    int64 // by clients
	got     int64 // by clients
	most    int64 // passed on to the server; beyond it bytes wait
	mostGot int64 // the same, to clients
	shut    bool
	closed  bool
}

// NewProxy listens on a port of its own; the server is to listen on Target
// and to announce Address.
func NewProxy(t testing.TB) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), conns: map[net.Conn]struct{}{}, most: math.MaxInt64, mostGot: math.MaxInt64}
	p.changed = sync.NewCond(&p.mu)
	var running sync.WaitGroup
	running.Go(func() { p.accept(&running) })
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		running.Wait()
	})
	return p
}

// FreePort is one that nobody listens on and that is given to no connection,
// so that a server can have it again after a restart.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(10000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// Multiaddr is a TCP address as nodes write it.
func Multiaddr(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return "/ip4/" + host + "/tcp/" + port
}

// ServerArgs are arguments of create-node for the server behind the proxy.
func (p *Proxy) ServerArgs() []string {
	return []string{"--listen", Multiaddr(p.target), "--announce", Multiaddr(p.listener.Addr().String())}
}

func (p *Proxy) accept(running *sync.WaitGroup) {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() { p.connect(in, running) })
	}
}

func (p *Proxy) connect(in net.Conn, running *sync.WaitGroup) {
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		in.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut || p.closed {
		in.Close()
		out.Close()
		return
	}
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	running.Go(func() { p.carry(out, in, &p.sent, &p.most) })
	running.Go(func() { p.carry(in, out, &p.got, &p.mostGot) })
}

// carry ends both connections when one does.
func (p *Proxy) carry(to, from net.Conn, count, most *int64) {
	defer p.forget(to, from)
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && p.pass(to, int64(n), count, most) {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// pass waits until n bytes may go on, or the connection is cut.
func (p *Proxy) pass(to net.Conn, n int64, count, most *int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	*count += n
	p.changed.Broadcast()
	for {
		if _, there := p.conns[to]; !there {
			return false
		}
		if *count <= *most {
			return true
		}
		p.changed.Wait()
	}
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
	p.changed.Broadcast()
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
	p.changed.Broadcast()
}

// Shut refuses new connections until it is called again with false, and ends
// those that there are.
func (p *Proxy) Shut(shut bool) {
	p.mu.Lock()
	p.shut = shut
	p.mu.Unlock()
	if shut {
		p.Cut()
	}
}

// Sent is how many bytes clients have sent since the beginning.
func (p *Proxy) Sent() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// HoldSent lets n more bytes of clients pass; what follows waits until Release
// or the connection's end.
func (p *Proxy) HoldSent(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = p.sent + n
}

// HoldGot is the same for what the server sends.
func (p *Proxy) HoldGot(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mostGot = p.got + n
}

// Release ends HoldSent and HoldGot.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most, p.mostGot = math.MaxInt64, math.MaxInt64
	p.changed.Broadcast()
}

// Held reports whether bytes wait because of a hold.
func (p *Proxy) Held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent > p.most || p.got > p.mostGot
}

// WaitSent waits until clients have sent that many bytes since the beginning,
// or stop is closed, and reports which.
func (p *Proxy) WaitSent(bytes int64, stop <-chan struct{}) bool {
	woken := make(chan struct{})
	defer close(woken)
	go func() {
		select {
		case <-stop:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changed.Broadcast()
		case <-woken:
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.sent < bytes {
		select {
		case <-stop:
			return false
		default:
		}
		p.changed.Wait()
	}
	return true
}
