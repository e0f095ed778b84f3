package privacy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// plain is a transport.Session over a muxed connection, without any bound: an
// observer's, which writes down what it hears, or that of a client with a leak.
type plain struct {
	conn          network.MuxedConn
	local, remote grid.PublicKey
	address       string
	notes         *notes // nil at a client

	ending context.Context
	end    context.CancelFunc // of the connection

	events sync.Mutex // held during callbacks
	ev     transport.SessionEvents
	talks  sync.WaitGroup
}

func newPlain(c network.MuxedConn, local, remote grid.PublicKey, address string, n *notes) *plain {
	s := &plain{conn: c, local: local, remote: remote, address: address, notes: n}
	s.ending, s.end = context.WithCancel(context.Background())
	return s
}

func (s *plain) Local() grid.PublicKey  { return s.local }
func (s *plain) Remote() grid.PublicKey { return s.remote }
func (s *plain) Address() string        { return s.address }
func (s *plain) Path() transport.Path   { return transport.PathDirect }
func (s *plain) Admit()                 {}
func (s *plain) Close()                 { go s.conn.Close() }

// Punch makes no connection: none of these sessions goes through a relay.
func (s *plain) Punch(_ transport.SessionEvents, done func(transport.Session, error)) func() {
	done(nil, transport.ErrNoPunch)
	return func() {}
}

// serve accepts streams until the connection ends.
func (s *plain) serve() {
	for {
		st, err := s.conn.AcceptStream()
		if err != nil {
			s.notes.failed(err)
			break
		}
		s.talks.Go(func() { s.accepted(st) })
	}
	s.end() // nobody may be left who gives credit
	s.talks.Wait()
	s.events.Lock()
	defer s.events.Unlock()
	s.ev.Closed(transport.ErrClosed)
}

// spoken are the protocols that a side understands.
var spoken = func() *multistream.MultistreamMuxer[protocol.ID] {
	m := multistream.NewMultistreamMuxer[protocol.ID]()
	for _, p := range []transport.Protocol{transport.Storage, transport.Pull} {
		m.AddHandler(protocol.ID(p), nil)
	}
	return m
}()

func (s *plain) accepted(st network.MuxedStream) {
	p, _, err := spoken.Negotiate(st)
	if err != nil {
		_ = st.Reset()
		return
	}
	t := newTalk(s, nil, 0)
	s.events.Lock()
	if s.ev.Incoming != nil {
		handler, credit := s.ev.Incoming(t, transport.Protocol(p))
		t.change(func() { t.handler, t.credit = handler, t.credit+credit }) // some may have been granted by now
	}
	s.events.Unlock()
	if t.handler == nil {
		_ = st.Reset()
		return
	}
	t.run(st, st)
}

// Open starts a conversation.
func (s *plain) Open(p transport.Protocol, h transport.Handler, credit int) transport.Conversation {
	t := newTalk(s, h, credit)
	s.talks.Go(func() {
		st, err := s.conn.OpenStream(context.Background())
		if err != nil {
			t.end(err)
			return
		}
		t.run(st, multistream.NewMSSelect(st, protocol.ID(p)))
	})
	return t
}

// talk is a transport.Conversation.
type talk struct {
	session *plain

	mu      sync.Mutex
	changed sync.Cond
	handler transport.Handler
	credit  int
	queue   []wire.Frame
	closed  bool
	stream  network.MuxedStream
}

func newTalk(s *plain, h transport.Handler, credit int) *talk {
	t := &talk{session: s, handler: h, credit: credit}
	t.changed.L = &t.mu
	return t
}

func (t *talk) change(what func()) {
	t.mu.Lock()
	what()
	t.mu.Unlock()
	t.changed.Broadcast()
}

func (t *talk) Send(f wire.Frame) { t.change(func() { t.queue = append(t.queue, f) }) }
func (t *talk) Grant(n int)       { t.change(func() { t.credit += n }) }

func (t *talk) Close(reason error) {
	t.change(func() { t.closed = true })
	t.mu.Lock()
	st := t.stream
	t.mu.Unlock()
	if reason != nil && st != nil {
		go st.Reset()
	}
}

func (t *talk) run(st network.MuxedStream, data io.ReadWriter) {
	t.change(func() { t.stream = st })
	defer context.AfterFunc(t.session.ending, func() { t.change(func() { t.closed = true }) })()
	written := make(chan struct{})
	go func() {
		defer close(written)
		t.write(data)
		_ = st.CloseWrite()
	}()
	err := t.read(data)
	if !errors.Is(err, io.EOF) {
		_ = st.Reset()
	}
	t.change(func() { t.closed = true })
	<-written
	_ = st.Close()
	t.end(err)
}

// next waits for something to write; false once all is written before a Close.
func (t *talk) next() (wire.Frame, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) == 0 && !t.closed {
		t.changed.Wait()
	}
	if len(t.queue) == 0 {
		return wire.Frame{}, false
	}
	f := t.queue[0]
	t.queue = t.queue[1:]
	return f, true
}

func (t *talk) write(w io.Writer) {
	failed := false
	for {
		f, ok := t.next()
		if !ok {
			return
		}
		if !failed {
			t.session.notes.frame("to", f)
			failed = wire.WriteFrame(w, f) != nil
		}
		f.Release()
	}
}

func (t *talk) read(data io.Reader) error {
	r := bufio.NewReader(data)
	for {
		f, err := wire.ReadFrame(r, wire.MaxBody)
		if err != nil {
			return err
		}
		t.session.notes.frame("from", f)
		t.mu.Lock()
		for t.credit == 0 && !t.closed {
			t.changed.Wait()
		}
		t.credit--
		h, closed := t.handler, t.closed
		t.mu.Unlock()
		if closed {
			f.Release()
			return io.EOF
		}
		t.session.events.Lock()
		h(transport.Received{Frame: f})
		t.session.events.Unlock()
	}
}

func (t *talk) end(err error) {
	t.session.events.Lock()
	defer t.session.events.Unlock()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	t.handler(transport.Ended{Err: err})
}
