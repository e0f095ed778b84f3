package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/transport/wire"
)

// course is how far a helper says that it is with a file, over all connections
// to it. What can't be is refused, and only what it had never come to counts as
// coming on, so that nobody is kept waiting for ever by words.
type course struct {
	size  uint64    // of the ciphertext
	moved time.Time // when it last came on
	// have and placed are how many bytes it said that it has, and has encoded.
	have, placed uint64
	furthest     wire.HelpState
	setbacks     int // how often it had less than before

	state wire.HelpState // over this connection; 0 before the first word
	next  uint64         // the oldest request without an answer
	parts []uint64       // where each part without an answer ends
}

var errSetback = errors.New("it forgets again and again what it was sent")

// ask begins to listen to another connection, on which the request asks for
// help.
func (c *course) ask(request uint64) { c.state, c.next, c.parts = 0, request, nil }

// anew has the helper begin from nothing.
func (c *course) anew(now time.Time) { c.have, c.placed, c.furthest, c.moved = 0, 0, 0, now }

// sent notes a part on its way.
func (c *course) sent(end uint64) { c.parts = append(c.parts, end) }

// ours reports whether it is for us to go on.
func (c *course) ours() bool {
	return c.state == wire.HelpWants && len(c.parts) == 0 || c.state == wire.HelpDone
}

// patience is how long the helper may take to come on.
func (c *course) patience() time.Duration {
	if c.state == wire.HelpPlaces {
		return placingPatience
	}
	return helperPatience
}

func (c *course) late(now time.Time) bool { return now.Sub(c.moved) > c.patience() }

// hear takes one word. The error says what is wrong with it.
func (c *course) hear(now time.Time, f wire.Frame, m *wire.Helped) error {
	if err := c.check(f, m); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	first := c.state == 0
	if f.Answer {
		c.next++
		c.parts = c.parts[min(1, len(c.parts)):]
	}
	if first && (m.Have < c.have || m.Placed < c.placed) {
		if c.setbacks++; c.setbacks > maxSetbacks {
			return errSetback
		}
		c.have, c.placed, c.moved = m.Have, m.Placed, now
	}
	c.advance(now, m)
	c.state = m.State
	return nil
}

// check refuses what can't be said at this place.
func (c *course) check(f wire.Frame, m *wire.Helped) error {
	switch {
	case m.Have > c.size:
		return errors.New("it has more than was asked for")
	case (m.State == wire.HelpWants) == (m.Have == c.size):
		return errors.New("it can't want what it has, nor place what it has not")
	case f.Answer && f.ID != c.next:
		return errors.New("the answer to another request")
	case c.state == 0 && !f.Answer:
		return errors.New("no answer to the first request")
	case c.state == 0:
		return nil
	case f.Answer && (len(c.parts) == 0 || m.Have != c.parts[0]) || !f.Answer && m.Have != c.have:
		return errors.New("it does not have what it was sent")
	case m.State < c.state:
		return errors.New("it goes back")
	}
	return nil
}

// advance notes what is new. What is encoded counts by the floor that holds for
// servers, and for so many passes over the file.
func (c *course) advance(now time.Time, m *wire.Helped) {
	placed := m.Placed >= c.placed+min(pullFloor, c.size) && m.Placed <= maxPlacings*c.size
	if m.Have > c.have || m.State > c.furthest || placed {
		c.moved = now
	}
	if placed {
		c.placed = m.Placed
	}
	c.have, c.furthest = m.Have, max(c.furthest, m.State)
}
