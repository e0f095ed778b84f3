package client

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// verifying is a share that is being read to its end.
type verifying struct {
	*heldShare
	fetch       *fetch
	first, last int64 // segments that were asked for; none before the hashes are there
}

// verify reads every share to its end and proves it, several at a time and one at
// each server. It reports whether some were overwritten meanwhile.
func (m *mutableFile) verify(f *flow, s *survey, replyTo *actor.PID) (overwritten bool) {
	waiting := slices.DeleteFunc(slices.Clone(s.shares), func(h *heldShare) bool { return h.err != nil })
	done, total := int64(0), int64(0)
	for _, h := range waiting {
		total += h.share.Header.Size()
	}
	var under []*verifying
	for {
		under, waiting = m.verifyMore(f, under, waiting)
		if len(under) == 0 {
			break
		}
		waitForOne(f, under)
		under = slices.DeleteFunc(under, func(v *verifying) bool {
			if !v.fetch.complete() {
				return false
			}
			n, err := m.verifyPart(f, v)
			v.fetch.release()
			if err == nil {
				done += n
				f.ctx.Send(replyTo, Progress{min(done, total), total})
				return !m.readOn(f, v)
			}
			overwritten = m.fault(f, v.heldShare, err) || overwritten
			return true
		})
	}
	s.count()
	return overwritten
}

// verifyMore begins to read what can be read now.
func (m *mutableFile) verifyMore(f *flow, under []*verifying, waiting []*heldShare) ([]*verifying, []*heldShare) {
	busy := map[grid.ServerID]bool{}
	for _, v := range under {
		busy[v.server.id] = true
	}
	waiting = slices.DeleteFunc(waiting, func(h *heldShare) bool {
		if busy[h.server.id] || len(under) >= verifyAtOnce {
			return false
		}
		busy[h.server.id] = true
		wanted := h.wanted(0, -1)
		if h.share.PrivateKey == nil {
			wanted = append(wanted, h.share.Header.PrivateKey)
		}
		under = append(under, &verifying{heldShare: h, fetch: m.fetch(f, h, wanted), last: -1})
		return true
	})
	return under, waiting
}

// waitForOne waits until one of the shares goes on. What is lost within this node
// is answered for.
func waitForOne(f *flow, under []*verifying) {
	var all []*asked
	for _, v := range under {
		all = append(all, v.fetch.asked...)
	}
	one := func() bool { return slices.ContainsFunc(under, func(v *verifying) bool { return v.fetch.complete() }) }
	f.gather(all, lostTime, func(late bool) bool { return late || one() })
	if !one() {
		f.giveUp(all)
	}
}

// verifyPart proves what came of a share, and says how many bytes that were.
func (m *mutableFile) verifyPart(f *flow, v *verifying) (int64, error) {
	parts, err := v.fetch.bytes()
	if err != nil {
		return 0, err
	}
	n := int64(0)
	for _, p := range parts {
		n += int64(len(p))
	}
	if v.last < 0 {
		private := v.share.PrivateKey
		if private == nil {
			private = parts[len(parts)-1]
		}
		n += int64(len(v.head))
		if err := m.verifyVersion(f, v.share, private); err != nil {
			return 0, err
		}
	}
	_, err = m.takeBlocks(f, v.fetch, v.first, v.last)
	return n, err
}

// verifyVersion proves the signature of a share and, with a capability that can
// write, its private key.
func (m *mutableFile) verifyVersion(f *flow, s mutable.Share, private []byte) error {
	c := m.cap
	type proven struct{ err error }
	return do(f, env.CPU, func() proven {
		err := s.VerifyVersion(c)
		if err == nil && c.Writable() {
			if _, err = mutable.OpenKey(c, private); err != nil {
				err = fmt.Errorf("%w: %w", mutable.ErrShare, err)
			}
		}
		return proven{err}
	}).err
}

// readOn asks for the next segments; it reports false where there are none.
func (m *mutableFile) readOn(f *flow, v *verifying) bool {
	h := v.share.Header
	v.first = v.last + 1
	if v.first >= h.NumSegments() {
		v.blocks = nil // which of a large file are many
		return false
	}
	v.last = min(h.NumSegments(), v.first+max(1, verifyPart/h.BlockSize(v.first))) - 1
	v.fetch = m.fetch(f, v.heldShare, v.wanted(v.first, v.last))
	return true
}

// fault notes why a share does not count. It reports true where it is another one
// by now than was found.
func (m *mutableFile) fault(f *flow, h *heldShare, err error) (overwritten bool) {
	if !errors.Is(err, mutable.ErrShare) && !errors.Is(err, errAnswer) {
		h.lose(err)
		return false
	}
	read := &wire.Read{StorageIndex: m.cap.StorageIndex(), Num: h.num, Ranges: []wire.Range{{Length: uint64(len(h.seen()))}}}
	now := []*asked{f.ask(h.server.pid, Call{Frame: wire.Frame{Message: read}})}
	f.gatherBut(now)
	defer now[0].reply.Frame.Release()
	if _, ok := now[0].reply.Frame.Message.(*wire.Data); ok && !bytes.Equal(now[0].reply.Frame.Bytes(), h.seen()) {
		h.lose(errOverwritten)
		return true
	}
	m.log.Warn("bad share", "server", h.server.id.Short(), "storage-index", m.cap.StorageIndex().String(), "share", h.num, "error", err)
	h.err = err
	return false
}
