package client

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/transport/wire"
)

// hear takes what the helper says.
func (h *helped) hear(ctx actor.Context, f wire.Frame) {
	h.heard = h.env.Clock.Now()
	switch m := f.Message.(type) {
	case *wire.Hello:
	case *wire.Helped:
		h.news(ctx, f, m)
	case *wire.Error:
		if m.Code == wire.Busy {
			h.hangUp(ctx, m)
			return
		}
		h.giveUp(ctx, m)
	default:
		h.giveUp(ctx, fmt.Errorf("%w: %T", errAnswer, m))
	}
}

func (h *helped) news(ctx actor.Context, f wire.Frame, m *wire.Helped) {
	first, moved := h.course.state == 0, h.course.moved
	if err := h.course.hear(h.heard, f, m); err != nil {
		h.giveUp(ctx, err)
		return
	}
	if !h.course.moved.Equal(moved) {
		h.backoff.reset()
	}
	if first {
		h.met, h.anew, h.sent = true, false, m.Have
		h.log.Info("the helper works", "have", m.Have, "size", h.layout.Size)
	}
	if m.State != wire.HelpDone {
		ctx.Send(h.put.ReplyTo, Progress{int64(m.Have), h.layout.Size})
	} else {
		h.result = *m
	}
	h.pump(ctx)
}

// pump sends what may be sent and encodes what comes next.
func (h *helped) pump(ctx actor.Context) {
	if h.course.state == 0 {
		return
	}
	h.send()
	switch next, ok := h.next(); {
	case h.encoding || h.sending != nil:
	case ok:
		h.encode(ctx, next)
	case h.known == nil:
		h.encoding = true
		encoder := h.encoder
		h.env.Exec.Do(env.CPU, ctx.Self(), func() any {
			known, err := encoder.Finish()
			return hashed{known, err}
		})
	case h.course.state == wire.HelpDone:
		h.compare(ctx)
	}
}

// wants reports whether some of the ciphertext is still to be sent.
func (h *helped) wants() bool {
	return h.course.state == wire.HelpWants && h.sent < uint64(h.layout.Size)
}

// next is the segment to encode: of what the helper lacks, if that is in the
// hashes already, else the next for those.
func (h *helped) next() (int64, bool) {
	if h.wants() {
		if i := h.layout.SegmentOf(int64(h.sent)); i < h.added {
			return i, true
		}
	}
	return h.added, h.added < h.layout.NumSegments
}

func (h *helped) encode(ctx actor.Context, i int64) {
	h.encoding = true
	encoder, source, layout, add := h.encoder, h.source, h.layout, i == h.added
	source.use()
	h.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		defer source.done()
		content, release := immutable.SegmentBuffer(int(layout.SegmentLen(i)))
		defer release()
		if err := readSegment(source, i*layout.SegmentSize, content); err != nil {
			return ciphertextMade{err: err}
		}
		s, err := encoder.EncodeSegment(i, content)
		if err == nil && add {
			err = encoder.Add(s)
		}
		return ciphertextMade{s, err}
	})
}

func (h *helped) made(ctx actor.Context, m ciphertextMade) {
	h.encoding = false
	if h.upload != nil {
		m.Discard()
		return
	}
	if m.err != nil {
		m.Discard()
		h.end(ctx, fmt.Errorf("encode the file: %w", m.err))
		return
	}
	h.added = max(h.added, m.segment.Index+1)
	if h.wants() && h.layout.SegmentOf(int64(h.sent)) == m.segment.Index {
		h.sending = hold(m.segment)
	} else {
		m.segment.Release()
	}
	h.pump(ctx)
}

func (h *helped) hashed(ctx actor.Context, m hashed) {
	h.encoding = false
	if h.upload != nil {
		return
	}
	if m.err != nil {
		h.end(ctx, fmt.Errorf("encode the file: %w", m.err))
		return
	}
	h.known = &m.known
	h.pump(ctx)
}

// send sends parts of the segment at hand, as many as may be on their way.
func (h *helped) send() {
	for h.sending != nil && len(h.course.parts) < helpWindow {
		s := h.sending
		from := int64(h.sent) - s.Index*h.layout.SegmentSize
		rest := s.Ciphertext()[from:]
		if !h.wants() || len(rest) == 0 {
			h.drop()
			return
		}
		part := rest[:min(len(rest), wire.MaxHelpData)]
		s.use()
		h.requests++
		h.link.send(wire.Frame{ID: h.requests, Message: &wire.HelpData{Offset: h.sent}}.WithBody(s.done, part))
		h.sent += uint64(len(part))
		h.course.sent(h.sent)
		if len(part) == len(rest) {
			h.drop()
		}
	}
}

// compare holds the helper's answer against what was encoded here. A helper
// that made something else may do it once more, since what it had kept may have
// been damaged.
func (h *helped) compare(ctx actor.Context) {
	switch {
	case h.result.UEBHash == h.known.UEBHash:
		h.place(ctx)
	case !h.again:
		h.log.Warn("the helper made another file; it is to begin anew")
		h.again, h.anew = true, true
		h.course.anew(h.env.Clock.Now())
		h.ask()
	default:
		h.giveUp(ctx, errOtherCiphertext)
	}
}

var errOtherCiphertext = errors.New("what it stored is not what it was sent, twice; don't use it again")
