package sim_test

import (
	"slices"

	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// liar stands between an honest server and its network, and makes of what it
// says whatever a scenario wants.
type liar struct {
	g *simGrid
	// answers replaces a frame that the server sends: by none, by another, by
	// several.
	answers func(wire.Frame) []wire.Frame
	// hears is told of each frame that a client sends, before the server; it
	// may answer itself by returning frames, and the server then hears nothing.
	hears func(wire.Frame) []wire.Frame
}

func (l *liar) wrap(s transport.Session, accept fake.Accept) transport.SessionEvents {
	ev := accept(&lyingSession{s, l})
	incoming := ev.Incoming
	ev.Incoming = func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
		wrapped := &lyingConversation{Conversation: c, liar: l}
		h, credit := incoming(wrapped, p)
		return wrapped.listen(h), credit
	}
	return ev
}

type lyingSession struct {
	transport.Session
	liar *liar
}

func (s *lyingSession) Open(p transport.Protocol, h transport.Handler, credit int) transport.Conversation {
	c := &lyingConversation{liar: s.liar}
	c.Conversation = s.Session.Open(p, c.listen(h), credit)
	return c
}

type lyingConversation struct {
	transport.Conversation
	liar *liar
}

func (c *lyingConversation) Send(f wire.Frame) {
	if c.liar.answers == nil {
		c.Conversation.Send(f)
		return
	}
	for _, said := range c.liar.answers(f) {
		c.Conversation.Send(said)
	}
}

func (c *lyingConversation) listen(h transport.Handler) transport.Handler {
	if h == nil {
		return nil
	}
	return func(ev transport.Event) {
		if r, ok := ev.(transport.Received); ok && c.liar.hears != nil {
			if said := c.liar.hears(r.Frame); said != nil {
				r.Frame.Release()
				c.Grant(1)
				for _, f := range said {
					c.Conversation.Send(f)
				}
				return
			}
		}
		h(ev)
	}
}

// again is a frame with the same body, which may be sent another time.
func again(f wire.Frame) wire.Frame {
	var parts [][]byte
	for _, p := range f.Body {
		parts = append(parts, slices.Clone(p))
	}
	return wire.Frame{ID: f.ID, Answer: f.Answer, Message: f.Message}.WithBody(nil, parts...)
}

// flip is a frame with one bit of its body changed.
func (g *simGrid) flip(f wire.Frame) wire.Frame {
	lie := again(f)
	f.Release()
	for _, p := range lie.Body {
		if len(p) > 0 {
			p[g.oneOf(len(p))] ^= 1 << g.oneOf(8)
			break
		}
	}
	return lie
}
