//go:build integration

package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
)

// strangersOf is set for a process that is nothing but strangers; it is their prey.
const strangersOf = "TARN_STRANGERS_OF"

// prey is a server, and a file that it has a share of.
type prey struct {
	Server string
	Hints  []grid.Hint
	Cap    string
}

// crowd is such a process. What strangers need of the processors themselves is not
// what they cost a server: whoever else has something to do goes first.
type crowd struct {
	*testing.T
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
}

func startCrowd(t *testing.T, server *nodes.Node, capability string) *crowd {
	t.Helper()
	status := server.Status().Storage
	p := prey{Server: status.Server, Cap: capability}
	for _, h := range status.Hints {
		p.Hints = append(p.Hints, grid.Hint(h))
	}
	what, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{T: t, process: exec.Command("nice", "-n", "10", os.Args[0])}
	c.process.Env = append(os.Environ(), fmt.Sprint(strangersOf, "=", string(what)))
	c.process.Stderr = os.Stderr
	out, err := c.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if c.in, err = c.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.leave)
	return c
}

// number is what the process says next.
func (c *crowd) number() int64 {
	c.Helper()
	if !c.out.Scan() {
		c.Fatalf("the strangers' process has ended: %v", c.out.Err())
	}
	n, err := strconv.ParseInt(c.out.Text(), 10, 64)
	if err != nil {
		c.Fatal(err)
	}
	return n
}

// came waits until the server has heard of each of them, and says how often any
// of them has come.
func (c *crowd) came() int64 { return c.number() }

// times is how often any of them has come by now.
func (c *crowd) times() int64 {
	c.Helper()
	if _, err := fmt.Fprintln(c.in); err != nil {
		c.Fatal(err)
	}
	return c.number()
}

// leave has all of them go.
func (c *crowd) leave() {
	_ = c.in.Close()
	_ = c.process.Wait()
}

// strangers are connections to one server that are up to no good, all from one
// address. Whoever is closed comes again, so many a second in all.
type strangers struct {
	ctx    context.Context
	target transport.Target
	pace   *time.Ticker
	first  sync.WaitGroup // that were told to come, for the first time
	times  atomic.Int64   // that any of them came
	all    sync.WaitGroup
}

// returnEvery is the least time between two strangers who come again.
const returnEvery = 20 * time.Millisecond

// beStrangers is all that such a process does, until its standard input ends: it
// prints how often strangers came once all of them did, and again for each line.
func beStrangers(what string) error {
	p2p.LogTo(slog.DiscardHandler)
	var p prey
	if err := json.Unmarshal([]byte(what), &p); err != nil {
		return err
	}
	id, err := grid.ParseServerID(p.Server)
	if err != nil {
		return err
	}
	c, err := file.Parse(p.Cap)
	if err != nil {
		return err
	}
	_, address, err := manet.DialArgs(ma.StringCast(string(p.Hints[0])))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &strangers{ctx: ctx, pace: time.NewTicker(returnEvery)}
	defer s.all.Wait()
	defer cancel()
	s.target = transport.Target{Server: id, Hints: p.Hints, Connections: transport.DirectConnections}
	s.comeAll(address, &wire.Read{StorageIndex: c.(file.CHK).StorageIndex(), Ranges: []wire.Range{{Length: 1 << 20}}})
	s.first.Wait()
	fmt.Fprintln(os.Stdout, s.times.Load())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Fprintln(os.Stdout, s.times.Load())
	}
	return lines.Err()
}

// comeAll has a thousand come who are idle, and 500 who stall.
func (s *strangers) comeAll(address string, read *wire.Read) {
	no := &wire.Login{Chain: []byte("no chain"), Request: []byte("no request")}
	s.come(1000, s.caller(nil, 1))
	s.come(200, s.silent(address, ""))
	s.come(100, s.silent(address, "\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x16\x03\x01"))
	s.come(100, s.caller([]wire.Message{no, no, no, no, no}, 6))
	s.come(100, s.caller([]wire.Message{read, read, read}, 1))
}

// come has many strangers do the same, each again once it is closed. be returns
// when that is; came tells that the server has heard of it.
func (s *strangers) come(many int, be func(came func())) {
	for range many {
		s.first.Add(1)
		s.all.Go(func() {
			came := sync.OnceFunc(s.first.Done)
			defer came()
			visit := func() { s.times.Add(1); be(came) }
			for visit(); s.ctx.Err() == nil; visit() {
				select {
				case <-s.pace.C:
				case <-s.ctx.Done():
				}
			}
		})
	}
}

// silent opens a connection, and says so much of the handshake.
func (s *strangers) silent(address, said string) func(came func()) {
	return func(came func()) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer context.AfterFunc(s.ctx, func() { _ = c.Close() })()
		defer c.Close()
		_, _ = io.WriteString(c, said) // it may be closed already
		came()
		_, _ = io.Copy(io.Discard, c)
	}
}

// caller has a session with a hello, and sends messages; it takes so many answers.
func (s *strangers) caller(messages []wire.Message, credit int) func(came func()) {
	dialer := p2p.NewDialer(p2p.Options{})
	return func(came func()) {
		type dialled struct {
			transport.Session
			err error
		}
		ready, closed, answers := make(chan dialled, 1), make(chan struct{}), make(chan struct{}, 100)
		dialer.Dial(s.target, transport.SessionEvents{Closed: func(error) { close(closed) }}, func(c transport.Session, err error) { ready <- dialled{c, err} })
		c := <-ready
		if c.err != nil {
			return
		}
		defer context.AfterFunc(s.ctx, c.Close)()
		conv := c.Open(transport.Storage, func(e transport.Event) {
			if r, ok := e.(transport.Received); ok {
				r.Frame.Release()
				answers <- struct{}{}
			}
		}, credit)
		hello := &wire.Hello{Version: wire.Version, MaxBody: wire.MaxRead, MaxRequests: 4}
		for n, m := range append([]wire.Message{hello}, messages...) {
			conv.Send(wire.Frame{ID: uint64(n + 1), Message: m})
			if n >= credit {
				continue
			}
			select {
			case <-answers:
				came()
			case <-closed:
				return
			}
		}
		<-closed
	}
}
