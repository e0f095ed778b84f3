package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// conversation implements transport.Conversation with a goroutine that reads
// and one that writes. The reader delivers all events, so they are in order.
type conversation struct {
	session  *session
	protocol transport.Protocol // set before anything is read
	incoming bool
	written  chan struct{} // closed when the writer is done

	mu      sync.Mutex
	changed sync.Cond // on mu: queue, credit, closing, broken
	handler transport.Handler
	queue   []wire.Frame
	credit  int
	closing bool  // Close was called
	reason  error // what it was given, or what came between
	flushed bool  // all was written before a Close in good order
	broken  bool  // nothing more is read or written
	stream  network.Stream
	data    io.ReadWriter // the stream, behind its negotiation
}

func newConversation(s *session, h transport.Handler, credit int) *conversation {
	c := &conversation{session: s, handler: h, credit: credit, written: make(chan struct{})}
	c.changed.L = &c.mu
	return c
}

// Send queues a frame.
func (c *conversation) Send(f wire.Frame) {
	c.mu.Lock()
	if c.closing || c.broken {
		c.mu.Unlock()
		f.Release()
		return
	}
	c.queue = append(c.queue, f)
	c.mu.Unlock()
	c.changed.Broadcast()
}

// Grant allows n more frames.
func (c *conversation) Grant(n int) {
	c.mu.Lock()
	c.credit += n
	c.mu.Unlock()
	c.changed.Broadcast()
}

// Close ends the conversation, in good order if reason is nil.
func (c *conversation) Close(reason error) {
	c.mu.Lock()
	if c.closing || c.broken {
		c.mu.Unlock()
		return
	}
	c.closing, c.reason, c.broken = true, reason, reason != nil
	st := c.stream
	c.mu.Unlock()
	c.changed.Broadcast()
	if reason != nil && st != nil {
		go func() { _ = st.ResetWithError(network.StreamShutdown) }() // it may wait for room to say so
	}
}

// interrupt wakes whoever waits; the connection has ended.
func (c *conversation) interrupt() {
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
	c.changed.Broadcast()
}

// drop releases what was not written.
func (c *conversation) drop() {
	c.mu.Lock()
	queue := c.queue
	c.queue, c.broken = nil, true
	c.mu.Unlock()
	c.changed.Broadcast()
	for _, f := range queue {
		f.Release()
	}
}

// attach gives the conversation its stream; false if it was closed meanwhile.
func (c *conversation) attach(st network.Stream, data io.ReadWriter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream, c.data = st, data
	return !c.broken
}

// open makes the stream of a conversation that this side starts. Its protocol
// is sent along with the first frame, so that it costs no round trip.
func (c *conversation) open() {
	ctx, cancel := context.WithTimeout(context.Background(), negotiateTimeout)
	defer cancel()
	st, err := c.session.conn.NewStream(network.WithAllowLimitedConn(ctx, "what a relay bounds is used, too"))
	if err != nil {
		c.fail(fmt.Errorf("open conversation: %w: %w", transport.ErrClosed, err))
		c.finish()
		c.session.leave(c)
		return
	}
	lazy := multistream.NewMSSelect(st, protocol.ID(c.protocol))
	if !c.attach(st, lazy) {
		_ = st.ResetWithError(network.StreamShutdown)
	}
	go c.read()
	if c.idle() {
		_ = lazy.Flush() // a failure is found by the reader
	}
	c.write()
}

// idle reports whether nothing waits to be written.
func (c *conversation) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) == 0 && !c.closing
}

// read delivers frames and then the end.
func (c *conversation) read() {
	err := c.receive()
	if !inOrder(err) && c.closingInOrder() {
		<-c.written // a reset now would overtake what is still to be written
	}
	code, end := c.verdict(err)
	if err == nil || inOrder(err) || c.isFlushed() { // QUIC has not sent all that was written yet
		_ = c.stream.Close()
	} else {
		_ = c.stream.ResetWithError(code)
	}
	c.drop()
	<-c.written
	c.session.vacate(c)
	c.ended(end)
	c.session.leave(c)
}

// headBuffer is what a conversation that waits holds for the heads of frames;
// bodies, which are larger, go past it.
const headBuffer = 1 << 10

// receive delivers frames until there are no more (io.EOF), something fails,
// or the conversation is closed or interrupted (nil).
func (c *conversation) receive() error {
	r := bufio.NewReaderSize(c.data, headBuffer)
	for {
		p, err := wire.ReadPrefix(r, wire.MaxRead)
		if err != nil {
			return err
		}
		if !c.spend() {
			return nil
		}
		if most := c.maxBody(); p.Body > most {
			return fmt.Errorf("%w: body of %d bytes, at most %d here", wire.ErrTooLarge, p.Body, most)
		}
		f, err := wire.ReadRest(r, p)
		if err != nil {
			return err
		}
		c.received(f)
	}
}

// maxBody is the largest body that is taken now.
func (c *conversation) maxBody() int {
	s := c.session
	return transport.MaxBody(c.protocol, s.dial != nil, !c.incoming, s.admitted.Load())
}

// spend waits for credit and takes one; false if the conversation is over.
func (c *conversation) spend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.credit <= 0 && !c.closing && !c.broken {
		c.changed.Wait()
	}
	if c.closing || c.broken {
		return false
	}
	c.credit--
	return true
}

// received delivers a frame, unless the conversation was closed meanwhile.
func (c *conversation) received(f wire.Frame) {
	c.session.events.Lock()
	defer c.session.events.Unlock()
	c.mu.Lock()
	h, over := c.handler, c.closing
	c.mu.Unlock()
	if over {
		f.Release()
		return
	}
	h(transport.Received{Frame: f})
}

// ended delivers the last event.
func (c *conversation) ended(err error) {
	c.session.events.Lock()
	defer c.session.events.Unlock()
	c.mu.Lock()
	h := c.handler
	c.mu.Unlock()
	h(transport.Ended{Err: err})
}

// finish ends a conversation that never had a stream.
func (c *conversation) finish() {
	c.drop()
	c.mu.Lock()
	reason := c.reason
	c.mu.Unlock()
	c.ended(reason)
}

// inOrder reports whether the other side ended the stream between frames. An
// error that merely wraps io.EOF is a lost connection.
func inOrder(err error) bool { return err == io.EOF } //nolint:errorlint // see above

// verdict says what an end of reading means, and with which code the stream is
// reset if it must be.
func (c *conversation) verdict(err error) (code network.StreamErrorCode, end error) {
	c.mu.Lock()
	closed, reason := c.closing && (c.flushed || c.reason != nil), c.reason
	c.mu.Unlock()
	var reset *network.StreamError
	var unsupported multistream.ErrNotSupported[protocol.ID]
	switch {
	case closed:
		return network.StreamShutdown, reason
	case inOrder(err):
		return 0, nil
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge), errors.Is(err, io.ErrUnexpectedEOF):
		return network.StreamProtocolViolation, fmt.Errorf("%w: %w", transport.ErrProtocol, err)
	case errors.As(err, &unsupported):
		return network.StreamShutdown, fmt.Errorf("%w: %w", transport.ErrRefused, err)
	case errors.As(err, &reset) && reset.Remote:
		return network.StreamShutdown, resetError(reset.ErrorCode)
	}
	return network.StreamShutdown, c.session.lost()
}

// resetError says what the other side meant by a reset.
func resetError(code network.StreamErrorCode) error {
	switch code {
	case network.StreamGated, network.StreamResourceLimitExceeded, network.StreamProtocolNegotiationFailed:
		return transport.ErrRefused
	case network.StreamProtocolViolation:
		return fmt.Errorf("%w: the other side says that this one broke the protocol", transport.ErrClosed)
	}
	return fmt.Errorf("%w: the other side broke off", transport.ErrClosed)
}

// write writes what is queued, until the conversation is closed or broken.
func (c *conversation) write() {
	defer close(c.written)
	w := &progress{to: c.data, stream: c.stream, stall: c.session.options.Stall}
	for {
		f, ok := c.next()
		if !ok {
			break
		}
		err := wire.WriteFrame(w, f)
		f.Release()
		if err != nil {
			c.writeFailed(err)
			return
		}
	}
	if c.closingInOrder() {
		c.mu.Lock()
		c.flushed = true
		c.mu.Unlock()
		_ = c.stream.Close() // wakes the reader
	}
}

// isFlushed reports whether all was written before a Close in good order.
func (c *conversation) isFlushed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushed
}

// closingInOrder reports whether Close was called without a reason, and
// nothing came between.
func (c *conversation) closingInOrder() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing && !c.broken
}

// next waits for a frame to write; false if there will be none.
func (c *conversation) next() (wire.Frame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.closing && !c.broken {
		c.changed.Wait()
	}
	if c.broken || len(c.queue) == 0 {
		return wire.Frame{}, false
	}
	f := c.queue[0]
	c.queue[0] = wire.Frame{}
	c.queue = c.queue[1:]
	return f, true
}

// writeFailed ends the conversation if that is not under way: a frame that
// must not be sent, or a reader that does not read. When the stream or the
// connection broke, the reader knows better why.
func (c *conversation) writeFailed(err error) {
	stalled := isTimeout(err)
	if !stalled && !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrTooLarge) {
		return
	}
	if stalled {
		err = fmt.Errorf("%w: the other side took nothing for %v", transport.ErrClosed, c.session.options.Stall)
	}
	c.fail(fmt.Errorf("send: %w", err))
}

// fail ends the conversation for a reason found here, even if it was about to
// end in good order.
func (c *conversation) fail(err error) {
	c.mu.Lock()
	if c.reason == nil {
		c.reason = err
	}
	c.closing, c.broken = true, true
	st := c.stream
	c.mu.Unlock()
	c.changed.Broadcast()
	if st != nil {
		_ = st.ResetWithError(network.StreamShutdown)
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// progress is a writer that fails when nothing moves for too long, however
// long the whole takes.
type progress struct {
	to     io.Writer
	stream network.Stream
	stall  time.Duration
	set    time.Time
}

// chunk is what must get through in one Stall, in bytes: four full messages of
// yamux, whose 64 KiB include a header of 12.
const chunk = 4 * (64<<10 - 12)

// Write writes b in chunks, each with a deadline.
func (p *progress) Write(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		if now := time.Now(); now.Sub(p.set) > p.stall/8 {
			p.set = now
			if err := p.stream.SetWriteDeadline(now.Add(p.stall)); err != nil {
				return n, err
			}
		}
		var m int
		m, err = p.to.Write(b[n:min(n+chunk, len(b))])
		n += m
	}
	return n, err
}
