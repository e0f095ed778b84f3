package web

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the connections to a server.
const (
	// MaxConnections is how many a gateway has at a time.
	MaxConnections = 512
	// silence is after how long one that neither sends nor takes anything may be
	// closed for a new one.
	silence = 5 * time.Second
	// takeTime is how long takeBytes of an answer may be on their way: who takes
	// them more slowly is closed, since what follows is held in memory.
	takeTime  = 2 * time.Minute
	takeBytes = 256 << 10
)

// Bounded has no more connections than that at a time: the one that was silent
// longest is closed for a new one, or, if all of them are busy, the new one. So those
// that say nothing, in the middle of a request too, keep nobody out. Whoever does not
// take what he asked for is closed.
func Bounded(l net.Listener, most int) net.Listener {
	return &boundedListener{Listener: l, most: most, conns: map[*boundedConn]bool{}}
}

type boundedListener struct {
	net.Listener
	most int

	mu    sync.Mutex
	conns map[*boundedConn]bool
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &boundedConn{Conn: accepted, of: l}
		c.moved()
		if l.admit(c) {
			return c, nil
		}
		_ = accepted.Close() // nothing was said yet
	}
}

// admit makes room for a connection; false if there is none.
func (l *boundedListener) admit(c *boundedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.most {
		silent := l.mostSilent()
		if time.Since(time.Unix(0, silent.at.Load())) < silence {
			return false
		}
		_ = silent.Conn.Close() // its server sees that, and closes it, too
		delete(l.conns, silent)
	}
	l.conns[c] = true
	return true
}

func (l *boundedListener) mostSilent() *boundedConn {
	var most *boundedConn
	for c := range l.conns {
		if most == nil || c.at.Load() < most.at.Load() {
			most = c
		}
	}
	return most
}

func (l *boundedListener) forget(c *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// boundedConn knows when something last went over it.
type boundedConn struct {
	net.Conn
	of *boundedListener
	at atomic.Int64 // Unix nanoseconds
}

func (c *boundedConn) moved() { c.at.Store(time.Now().UnixNano()) }

// Read implements net.Conn.
func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.moved()
	}
	return n, err
}

// Write implements net.Conn.
func (c *boundedConn) Write(p []byte) (written int, err error) {
	for first := true; first || len(p) > 0 && err == nil; first = false {
		part := p[:min(len(p), takeBytes)]
		if err := c.SetWriteDeadline(time.Now().Add(takeTime)); err != nil {
			return written, err
		}
		var n int
		n, err = c.Conn.Write(part)
		written, p = written+n, p[n:]
		if n > 0 {
			c.moved()
		}
	}
	return written, err
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.of.forget(c)
	return c.Conn.Close()
}
