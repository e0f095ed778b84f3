package web_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tarn-grid/tarn/web"
)

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// bounded serves with that many connections at most, and ends with the test.
func bounded(t *testing.T, most int, handler http.HandlerFunc) *pipes {
	p := &pipes{make(chan net.Conn), make(chan struct{})}
	server := web.Server(handler, nil)
	go func() {
		if err := server.Serve(web.Bounded(p, most)); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

// speak sends a part of a request, and fails if nobody hears it.
func speak(c net.Conn, text string) error {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, err := io.WriteString(c, text)
	return err
}

// answered reports whether a whole request is answered.
func answered(c net.Conn) bool {
	if speak(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") != nil {
		return false
	}
	answer := make([]byte, 1000)
	n, _ := c.Read(answer)
	return bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200 OK"))
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// Connections that say nothing make room for new ones, the most silent first; who has
// just said something is not cut off.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bounded(t, 3, ok)
		var conns []net.Conn
		dial := func() net.Conn {
			c := p.dial()
			conns = append(conns, c)
			return c
		}
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		slow, idle, busy := dial(), dial(), dial()
		if err := speak(slow, "GET / HTTP/1.1\r\nHo"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !answered(idle) || !answered(busy) {
			t.Fatal("not answered")
		}
		time.Sleep(3 * time.Second)
		if answered(dial()) {
			t.Error("one more was let in where all others are busy")
		}
		time.Sleep(2 * time.Second)
		if !answered(busy) {
			t.Error("a connection that is used was closed")
		}
		if !answered(dial()) {
			t.Error("not let in where others are silent")
		}
		if !answered(idle) {
			t.Error("closed, though another one was silent longer")
		}
		if answered(slow) {
			t.Error("half a request still has its connection")
		}
	})
}

// A connection that was closed makes room at once.
func TestClosedConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bounded(t, 1, ok)
		for range 5 {
			c := p.dial()
			if !answered(c) {
				t.Error("not answered")
			}
			c.Close()
			synctest.Wait()
		}
	})
}

// Who does not take an answer is cut off, who takes it slowly is not.
func TestAnswersAreTaken(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		each time.Duration // between two parts that are taken
		want error
	}{
		"slowly": {20 * time.Second, nil},
		"never":  {time.Hour, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var failure error
				p := bounded(t, 3, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", "1048576")
					_, failure = w.Write(make([]byte, size))
				})
				conn := p.dial()
				defer conn.Close()
				if err := speak(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Time{})
				taken, part := 0, make([]byte, 64<<10)
				for err := error(nil); err == nil; {
					var n int
					time.Sleep(c.each)
					n, err = io.ReadFull(conn, part)
					taken += n
				}
				conn.Close()
				synctest.Wait()
				if !errors.Is(failure, c.want) || c.want == nil && taken < size {
					t.Errorf("%d bytes were taken; the server's side: %v", taken, failure)
				}
			})
		})
	}
}
