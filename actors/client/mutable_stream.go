package client

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// stream is a large file on its way to its servers: its segments are encoded a few
// at a time and staged where their shares go; nothing takes the place of anything
// before all of it is there.
type stream struct {
	encoder *mutable.Encoder
	layout  mutable.Layout
	// segments encodes some that follow each other: the same ones whenever it is
	// asked, so that a share can be made once more.
	segments func(f *flow, first, last int64) ([]*mutable.Segment, error)
	finish   func() (mutable.Prefix, error) // ends the version; done outside of the actor
	done     bool
	secrets  map[placeOf]wire.Secret
}

// placeOf is a share at a server.
type placeOf struct {
	server grid.ServerID
	num    grid.ShareNum
}

// errStaleStage is why a share that was streamed is not written where another one
// was found than was seen: it would have to be streamed again.
var errStaleStage = errors.New("another share was found there than was seen")

// streams reports whether content is too large to be encoded at once.
func streams(f mutable.Format, size int64) bool { return f == mutable.MDMF && size > wholeMutable }

// draftOf makes a version of all of a file.
func (m *mutableFile) draftOf(f *flow, l mutable.Layout, seqnum uint64, c Content) (*draft, []byte, error) {
	if !streams(l.Format, l.Size) {
		content, err := m.load(f, c, 0, l.Size)
		if err != nil {
			return nil, nil, err
		}
		d, err := m.encode(f, l, seqnum, content)
		return d, content, err
	}
	d, err := m.streamDraft(l, seqnum, func(f *flow, off, size int64) ([]byte, error) { return m.load(f, c, off, size) })
	return d, nil, err
}

// streamDraft makes a version of what load gives of the content, segments that
// follow each other at a time.
func (m *mutableFile) streamDraft(l mutable.Layout, seqnum uint64, load func(f *flow, off, size int64) ([]byte, error)) (*draft, error) {
	e, err := mutable.NewEncoder(l, m.key)
	if err != nil {
		return nil, err
	}
	salts := make([][mutable.SaltSize]byte, l.NumSegments())
	for i := range salts {
		_, _ = m.env.Rand.Read(salts[i][:]) // never fails
	}
	s := newStream(e, l)
	s.segments = func(f *flow, first, last int64) ([]*mutable.Segment, error) {
		from := first * l.SegmentSize
		content, err := load(f, from, min(l.Size, (last+1)*l.SegmentSize)-from)
		if err != nil {
			return nil, err
		}
		return each(f, first, last, func(i int64) (*mutable.Segment, error) {
			at := i*l.SegmentSize - from
			return e.EncodeSegment(i, content[at:at+l.SegmentLen(i)], salts[i])
		})
	}
	random := m.env.Rand
	s.finish = func() (mutable.Prefix, error) { return e.Finish(seqnum, random) }
	return s.draft(mutable.Prefix{Layout: l, Seqnum: seqnum}), nil
}

func newStream(e *mutable.Encoder, l mutable.Layout) *stream {
	return &stream{encoder: e, layout: l, secrets: map[placeOf]wire.Secret{}}
}

// together is how many segments are made at a time.
func (s *stream) together() int64 { return max(1, readTogether/max(1, s.layout.SegmentSize)) }

func (s *stream) draft(p mutable.Prefix) *draft {
	return &draft{prefix: p, size: s.encoder.Size(), whole: true, stream: s, heads: map[grid.ShareNum][]byte{}}
}

// each makes segments, outside of the actor.
func each(f *flow, first, last int64, encode func(i int64) (*mutable.Segment, error)) ([]*mutable.Segment, error) {
	type encoded struct {
		segments []*mutable.Segment
		err      error
	}
	got := do(f, env.CPU, func() (out encoded) {
		for i := first; i <= last; i++ {
			segment, err := encode(i)
			if err != nil {
				return encoded{err: err}
			}
			out.segments = append(out.segments, segment)
		}
		return out
	})
	return got.segments, got.err
}

// stagedShare is what was staged and is not written yet.
type stagedShare struct {
	target
	secret wire.Secret
}

// newStage draws a name for what is going to be staged.
func (m *mutableFile) newStage(t target) (secret wire.Secret) {
	_, _ = m.env.Rand.Read(secret[:]) // never fails
	m.staged = append(m.staged, stagedShare{t, secret})
	return secret
}

// taken forgets what a Mutate takes.
func (m *mutableFile) taken(secret wire.Secret) {
	m.staged = slices.DeleteFunc(m.staged, func(s stagedShare) bool { return s.secret == secret })
}

// unstage gives up what was staged for nothing: until then its room is reserved.
func (m *mutableFile) unstage(ctx actor.Context) {
	for _, s := range m.staged {
		ctx.Send(s.server.pid, Call{ReplyTo: ctx.Self(), Frame: wire.Frame{Message: &wire.Unstage{Secret: s.secret}}})
	}
	m.staged = nil
}

// stageStream brings all of the file to some places. The first time it signs the version,
// too.
func (m *mutableFile) stageStream(f *flow, w *writing, groups [][]target) error {
	s := w.stream
	for _, group := range groups {
		for _, t := range group {
			s.secrets[placeOf{t.server.id, t.num}] = m.newStage(t)
		}
	}
	together := s.together()
	for first := int64(0); first < s.layout.NumSegments(); first += together {
		last := min(first+together, s.layout.NumSegments()) - 1
		if err := m.stageSegments(f, w, groups, first, last); err != nil {
			return err
		}
		if w.told != nil {
			f.ctx.Send(w.told, Progress{min((last+1)*s.layout.SegmentSize, s.layout.Size), s.layout.Size})
		}
	}
	if err := m.sign(f, w); err != nil {
		return err
	}
	var calls []stageCall
	for _, group := range groups {
		for _, t := range group {
			tail, err := s.encoder.Tail(t.num)
			if err != nil {
				return err
			}
			head := w.heads[t.num]
			calls = append(calls, m.stagePart(f, w, t, 0, head)...)
			calls = append(calls, m.stagePart(f, w, t, w.size-int64(len(tail)), tail)...)
		}
	}
	w.staged(f, calls)
	return nil
}

// sign finishes the version once all of its segments were encoded.
func (m *mutableFile) sign(f *flow, w *writing) error {
	s := w.stream
	if s.done {
		return nil
	}
	type signed struct {
		prefix mutable.Prefix
		err    error
	}
	got := do(f, env.CPU, func() signed {
		p, err := s.finish()
		return signed{p, err}
	})
	if got.err != nil {
		return got.err
	}
	s.done, w.prefix = true, got.prefix
	for n := range s.layout.Total {
		head, err := s.encoder.Head(grid.ShareNum(n))
		if err != nil {
			return err
		}
		w.heads[grid.ShareNum(n)] = head
	}
	return nil
}

// stageSegments encodes some segments and stages their blocks.
func (m *mutableFile) stageSegments(f *flow, w *writing, groups [][]target, first, last int64) error {
	s := w.stream
	segments, err := s.segments(f, first, last)
	if err != nil {
		return err
	}
	var calls []stageCall
	for _, segment := range segments {
		if !s.done {
			if err := s.encoder.Add(segment); err != nil {
				return err
			}
		}
		for _, group := range groups {
			for _, t := range group {
				calls = append(calls, m.stagePart(f, w, t, s.encoder.Block(segment.Index).Off, segment.Blocks[t.num])...)
			}
		}
	}
	w.staged(f, calls)
	return nil
}

// stageCall is a part on its way.
type stageCall struct {
	server grid.ServerID
	*asked
}

// stagePart brings bytes of a share, unless its server has refused some before.
func (m *mutableFile) stagePart(f *flow, w *writing, t target, off int64, data []byte) (calls []stageCall) {
	if w.refused[t.server.id] != nil {
		return nil
	}
	secret := w.stream.secrets[placeOf{t.server.id, t.num}]
	for _, a := range m.stageAt(f, w, t, secret, off, data) {
		calls = append(calls, stageCall{t.server.id, a})
	}
	return calls
}

// staged waits for parts to be there, and notes who did not take them.
func (w *writing) staged(f *flow, calls []stageCall) {
	var all []*asked
	for _, c := range calls {
		all = append(all, c.asked)
	}
	f.gather(all, 0, nil)
	for _, c := range calls {
		if _, ok := c.reply.Frame.Message.(*wire.Done); !ok && w.refused[c.server] == nil {
			w.refused[c.server] = unexpected(*c.reply)
		}
		c.reply.Frame.Release()
	}
}

// load reads a part of what is to be written into memory.
func (m *mutableFile) load(f *flow, c Content, off, size int64) ([]byte, error) {
	type loaded struct {
		data []byte
		err  error
	}
	got := do(f, env.Disk, func() loaded {
		data := make([]byte, size)
		_, err := io.ReadFull(io.NewSectionReader(c, off, size), data)
		if err != nil {
			err = fmt.Errorf("read what is to be written: %w", err)
		}
		return loaded{data, err}
	})
	return got.data, got.err
}
