package fake

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// conversation is one end of a conversation; it implements
// transport.Conversation.
type conversation struct {
	session  *session
	peer     *conversation
	protocol transport.Protocol
	incoming bool // the other side opened it

	handler transport.Handler
	credit  int

	out      []outgoing
	underWay int // bytes sent that the other side has not delivered

	in       [][]byte // arrived, not delivered
	finished bool     // nothing comes after what is in in

	closing bool // Close was called
	done    bool // Ended was delivered
}

// outgoing is an encoded frame and what gives back the body it was made of.
type outgoing struct {
	bytes   []byte
	release func()
}

// Send encodes and queues a frame.
func (c *conversation) Send(f wire.Frame) {
	c.net().mu.Lock()
	defer c.net().mu.Unlock()
	if c.closing || c.done || c.session.ended {
		f.Release()
		return
	}
	var b bytes.Buffer
	if err := wire.WriteFrame(&b, f); err != nil {
		f.Release()
		c.fail(fmt.Errorf("send: %w", err))
		return
	}
	c.out = append(c.out, outgoing{b.Bytes(), f.Release})
	c.pump()
}

// Grant allows n more frames.
func (c *conversation) Grant(n int) {
	c.net().mu.Lock()
	defer c.net().mu.Unlock()
	c.credit += n
	c.net().at(0, c.deliver)
}

// Close ends the conversation.
func (c *conversation) Close(reason error) {
	c.net().mu.Lock()
	defer c.net().mu.Unlock()
	if c.closing || c.done {
		return
	}
	if reason != nil {
		c.fail(reason)
		return
	}
	c.closing, c.in = true, nil
	c.net().at(0, c.finish)
}

func (c *conversation) net() *Network { return c.session.net }

// pump sends what fits into the window.
func (c *conversation) pump() {
	for len(c.out) > 0 && (c.underWay == 0 || c.underWay+len(c.out[0].bytes) <= Window) {
		f := c.out[0]
		c.out = c.out[1:]
		c.underWay += len(f.bytes)
		c.net().send(c.peer.session, func() { c.peer.arrived(f.bytes) })
		f.release()
	}
}

// finish completes a Close in good order, once everything is sent.
func (c *conversation) finish() {
	if c.done || len(c.out) > 0 {
		return
	}
	c.net().send(c.peer.session, func() {
		c.peer.finished = true
		c.peer.deliver()
	})
	c.end(nil)
}

// fail ends the conversation at once and breaks it for the other side.
func (c *conversation) fail(reason error) {
	c.closing = true
	c.drop()
	c.breakPeer(fmt.Errorf("%w: the other side broke off", transport.ErrClosed))
	c.net().at(0, func() { c.end(reason) })
}

func (c *conversation) breakPeer(err error) {
	peer := c.peer
	if peer != nil && !c.session.ended {
		c.net().send(peer.session, func() { peer.end(err) })
	}
}

// refuse tells the opener that nobody wants it.
func (c *conversation) refuse() {
	c.done = true
	c.breakPeer(transport.ErrRefused)
}

// answered is what Incoming decided.
func (c *conversation) answered(h transport.Handler, credit int) {
	if c.handler = h; h == nil {
		c.drop()
		c.leave()
		c.refuse()
		return
	}
	c.credit += credit
	c.net().at(0, c.deliver)
}

// arrived takes a frame from the other side.
func (c *conversation) arrived(b []byte) {
	if c.closing || c.done {
		c.acknowledge(len(b))
		return
	}
	c.in = append(c.in, b)
	c.deliver()
}

// deliver hands on what credit allows, and then the end.
func (c *conversation) deliver() {
	for len(c.in) > 0 && c.credit > 0 && !c.closing && !c.done && c.handler != nil {
		b := c.in[0]
		c.in = c.in[1:]
		c.credit--
		f, err := wire.ReadFrame(bytes.NewReader(b), c.maxBody())
		if err != nil {
			c.fail(errors.Join(transport.ErrProtocol, err))
			return
		}
		c.net().call(func() { c.receive(f) })
		c.acknowledge(len(b))
	}
	if c.finished && len(c.in) == 0 && !c.closing && c.handler != nil {
		c.end(nil)
	}
}

// receive hands on a frame, unless the conversation was closed meanwhile.
func (c *conversation) receive(f wire.Frame) {
	c.net().mu.Lock()
	over := c.closing || c.session.crashed
	c.net().mu.Unlock()
	if over {
		f.Release()
		return
	}
	c.handler(transport.Received{Frame: f})
}

func (c *conversation) maxBody() int {
	return transport.MaxBody(c.protocol, c.session.listener == nil, !c.incoming, c.session.admitted)
}

// acknowledge opens the sender's window again.
func (c *conversation) acknowledge(n int) {
	peer := c.peer
	c.net().send(peer.session, func() {
		peer.underWay -= n
		peer.pump()
		if peer.closing {
			peer.finish()
		}
	})
}

// end is the last that happens to a conversation.
func (c *conversation) end(err error) {
	if c.done {
		return
	}
	c.done = true
	c.drop()
	c.leave()
	if h := c.handler; h != nil && !c.session.crashed {
		c.net().call(func() { h(transport.Ended{Err: err}) })
	}
}

// drop forgets what was not sent or delivered.
func (c *conversation) drop() {
	for _, f := range c.out {
		f.release()
	}
	c.out, c.in = nil, nil
}

// leave makes room for another conversation.
func (c *conversation) leave() {
	s := c.session
	before := len(s.conversations)
	s.conversations = slices.DeleteFunc(s.conversations, func(o *conversation) bool { return o == c })
	if c.incoming && len(s.conversations) < before {
		s.incoming--
	}
}
