package client

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// learnNext fetches, from the next copy that may have it, what proves how the
// file is cut; nothing where nobody wants to know.
func (c *check) learnNext(ctx actor.Context) {
	if !c.check.Verify && !c.learns {
		c.stage = leasing
		return
	}
	if c.reader == nil {
		reader, err := immutable.NewCiphertextReader(c.check.Cap)
		if err != nil {
			c.end(ctx, fmt.Errorf("%w: %w", ErrNotReadable, err))
			return
		}
		c.reader = reader
	}
	for _, s := range c.copies {
		if _, proven := c.reader.Layout(); proven {
			break
		}
		if s.state == claimed {
			c.reader.Forget(s.num) // what is known of it may be of another server's copy
			c.learning, c.rounds = s, 0
			c.learnMore(ctx)
		}
		if c.learning != nil || c.answered {
			return
		}
	}
	c.beginReading()
}

// learnMore asks for what is still wanted of the copy that is being looked at.
func (c *check) learnMore(ctx actor.Context) {
	s := c.learning
	ranges, err := c.reader.WantLayout(s.num)
	switch c.rounds++; {
	case err == nil && len(ranges) == 0:
		c.learning = nil
	case err == nil && c.rounds > maxRounds:
		c.learnFailed(ctx, errManyRounds)
	case err != nil:
		c.learnFailed(ctx, err)
	default:
		want := oneRead(ranges)
		c.call(ctx, s.server, learnTag{s, want}, &wire.Read{StorageIndex: c.check.Cap.StorageIndex, Num: s.num, Ranges: want})
	}
}

// learned takes what has come.
func (c *check) learned(ctx actor.Context, tag learnTag, m Reply) {
	parts, err := partsOf(m, len(tag.ranges))
	if err != nil {
		c.learnFailed(ctx, err)
		return
	}
	for i, r := range tag.ranges {
		part := append([]byte(nil), parts[i]...) // the reader keeps it
		if err := c.reader.Got(tag.of.num, immutable.Range{Off: int64(r.Offset), Len: int64(r.Length)}, part); err != nil {
			c.learnFailed(ctx, err)
			return
		}
	}
	c.learnMore(ctx)
}

// partsOf is what a Read of so many ranges was answered by.
func partsOf(m Reply, ranges int) ([][]byte, error) {
	data, ok := m.Frame.Message.(*wire.Data)
	if !ok {
		return nil, unexpected(m)
	}
	parts, rest, ok := cut(m.Frame.Bytes(), data.Lengths)
	if !ok || len(rest) > 0 || len(parts) != ranges {
		return nil, errAnswer
	}
	return parts, nil
}

// learnFailed goes on with another copy; if no share can help, that ends the
// check.
func (c *check) learnFailed(ctx actor.Context, err error) {
	s := c.learning
	c.learning = nil
	if !s.fail(err) {
		c.end(ctx, err)
	}
}

// fail notes what is wrong with a copy: what its server gave is bad, or it gave
// nothing. It reports false where the fault lies with neither.
func (s *checkedCopy) fail(err error) bool {
	var share *immutable.ShareError
	var refusal *wire.Error
	switch {
	case errors.As(err, &share), errors.Is(err, immutable.ErrShare), errors.Is(err, errAnswer):
		s.bad(err)
	case errors.As(err, &refusal), errors.Is(err, ErrNotConnected), errors.Is(err, ErrNoAnswer):
		s.lose(err)
	default:
		return false
	}
	return true
}

// lose notes that a copy can't be read.
func (s *checkedCopy) lose(err error) { s.state, s.err = unread, err }

// beginReading goes on to the shares, if they are to be read.
func (c *check) beginReading() {
	c.stage = leasing
	if !c.check.Verify {
		return
	}
	c.stage = reading
	l, _ := c.reader.Layout()
	for _, s := range c.copies {
		if s.state != claimed {
			continue
		}
		if s.size > l.LargestShare() {
			s.bad(fmt.Errorf("%w: it has %d bytes (want %d)", immutable.ErrShare, s.size, l.ShareSize))
			continue
		}
		s.verifier = immutable.NewShareVerifier(s.num, s.size)
		c.total += s.size
	}
}

// readNext reads the next shares, one at each server and a few in all.
func (c *check) readNext(ctx actor.Context) {
	busy := map[grid.ServerID]bool{}
	under := 0
	for _, s := range c.copies {
		if s.begun && s.state == claimed {
			busy[s.server] = true
			under++
		}
	}
	for _, s := range c.copies {
		if s.state == claimed && !s.begun && !busy[s.server] && under < verifyAtOnce {
			s.begun, busy[s.server] = true, true
			under++
			c.fetch(ctx, s)
		}
	}
	if under == 0 {
		c.stage = leasing
	}
}

// fetch asks for the next part of a share.
func (c *check) fetch(ctx actor.Context, s *checkedCopy) {
	s.fetching = true
	n := min(verifyPart, max(s.size-s.next, 1))
	ranges := []wire.Range{{Offset: uint64(s.next), Length: uint64(n)}}
	c.call(ctx, s.server, copyTag{s}, &wire.Read{StorageIndex: c.check.Cap.StorageIndex, Num: s.num, Ranges: ranges})
}

// fetched hashes what has come, after what came before.
func (c *check) fetched(ctx actor.Context, s *checkedCopy, m Reply) {
	parts, err := partsOf(m, 1)
	if err == nil && int64(len(parts[0])) != min(verifyPart, max(s.size-s.next, 1)) {
		err = fmt.Errorf("%w: it ends after %d of %d bytes", immutable.ErrShare, s.next+int64(len(parts[0])), s.size)
	}
	if err != nil {
		m.Frame.Release()
		s.giveUpReading(err)
		return
	}
	s.next += int64(len(parts[0]))
	if s.hashing {
		s.waiting = &m.Frame
		return
	}
	c.hash(ctx, s, m.Frame)
}

// giveUpReading ends the reading of a copy.
func (s *checkedCopy) giveUpReading(err error) {
	if !s.fail(err) {
		s.lose(err)
	}
	if s.waiting != nil {
		s.waiting.Release()
		s.waiting = nil
	}
}

// hash takes a part of a share into its proof, and fetches the next meanwhile.
func (c *check) hash(ctx actor.Context, s *checkedCopy, f wire.Frame) {
	s.hashing = true
	verifier, last, want := s.verifier, s.next >= s.size, c.check.Cap.UEBHash
	c.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		defer f.Release()
		n, err := verifier.Write(f.Bytes())
		if err == nil && last {
			err = proves(verifier, want)
		}
		return copyTaken{s, int64(n), err}
	})
	if !last {
		c.fetch(ctx, s)
	}
}

// proves holds that a share which was read to its end is the file's.
func proves(v *immutable.ShareVerifier, want [32]byte) error {
	hash, _, err := v.Finish()
	if err == nil && hash != want {
		err = fmt.Errorf("%w: its URI extension block is not the one that the capability names", immutable.ErrShare)
	}
	return err
}

// taken goes on once a part is hashed.
func (c *check) taken(ctx actor.Context, m copyTaken) {
	s := m.of
	s.hashing = false
	c.done += m.bytes
	if s.state != claimed {
		c.goOn(ctx)
		return
	}
	switch {
	case m.err != nil:
		c.log.Warn("bad share", "server", s.server.Short(), "storage-index", c.check.Cap.StorageIndex.String(), "share", s.num, "error", m.err)
		s.giveUpReading(m.err)
	case s.waiting != nil:
		f := *s.waiting
		s.waiting = nil
		c.hash(ctx, s, f)
	case s.next >= s.size && !s.fetching:
		s.state = proved
	}
	ctx.Send(c.check.ReplyTo, Progress{c.done, c.total})
	c.goOn(ctx)
}
