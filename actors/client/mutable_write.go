package client

import (
	"errors"
	"time"

	"github.com/tarn-grid/tarn/file/mutable"
)

// How a version is written. The first server, in the order of the file, that
// holds a share of the version before decides between writers: it takes a new version only from
// who has seen the one that it holds. Who loses there has written nothing and
// begins anew; who wins goes on with all the others. Everybody asks in the same
// order, so only where one can't reach that server does a race end otherwise:
// then each of the others tells of it. A version that is newer than the one that
// can be read is somebody's who is just writing: it is left in peace for
// writePatience, within which its writer must have made it one that can be read,
// or must not count it.

// create makes a new file.
func (m *mutableFile) create(f *flow, c CreateMutable) {
	if m.key = c.Key; m.key == nil {
		f.ctx.Send(m.keys, AskKey{f.ctx.Self()})
		made := m.awaitKey(f)
		if made.Err != nil {
			m.answer(f, c.ReplyTo, made.Err)
			return
		}
		m.key = made.Key
	}
	m.cap = m.key.Capability(c.Format)
	layout, err := mutable.NewLayout(c.Format, c.Size, c.Params)
	if err != nil {
		m.answer(f, c.ReplyTo, err)
		return
	}
	d, content, err := m.draftOf(f, layout, 1, c.Content)
	if err != nil {
		m.answer(f, c.ReplyTo, err)
		return
	}
	w := m.newWriting(&survey{}, nil, d, c.Params)
	list := m.candidates(f, candidates{want: c.Params.Happy, storing: true})
	w.left, w.room = list.left, list.servers
	err = m.place(f, w)
	if err == nil {
		err = w.tooFew()
	}
	m.finish(f, c.ReplyTo, w, err, content)
}

func (m *mutableFile) awaitKey(f *flow) KeyMade {
	for {
		if made, ok := f.wait().(KeyMade); ok {
			return made
		}
		f.letGo()
	}
}

// write makes a new version of a file.
func (m *mutableFile) write(f *flow, w WriteMutable) {
	if !m.cap.Writable() {
		m.answer(f, w.ReplyTo, errReadOnly)
		return
	}
	var data []byte
	var err error
	if w.Part {
		data, err = m.load(f, w.Content, 0, w.Size)
	}
	if err != nil {
		m.answer(f, w.ReplyTo, err)
		return
	}
	s := m.known
	m.known = nil
	for tries := 0; ; tries++ {
		if s == nil {
			s, err = m.settled(f, func() *survey { return m.survey(f, w.Params, true) })
		}
		if err != nil {
			m.answer(f, w.ReplyTo, err)
			return
		}
		done, err := m.writeOnto(f, w, s, data)
		var conflict *ConflictError
		switch {
		case err == nil:
			m.finish(f, w.ReplyTo, done.writing, nil, done.content)
			return
		case (errors.As(err, &conflict) && conflict.Clean && (w.Base == nil || !m.newer(s, w.Base))) && tries < maxSurveys,
			errors.Is(err, errOverwritten) && tries < maxSurveys:
			// What was known was old: nothing has been written.
			m.forget()
			s = nil
			if tries > 0 {
				f.sleep(m.env.Jitter(writeAgain))
			}
		default:
			m.forget()
			m.answer(f, w.ReplyTo, err)
			return
		}
	}
}

// newer reports whether a survey shows that a base is not the newest version.
func (m *mutableFile) newer(s *survey, base *mutable.Prefix) bool {
	v, err := s.best()
	return err == nil && v.Prefix != *base
}

// settled is a survey in which nobody is just writing, or who does has given up.
func (m *mutableFile) settled(f *flow, look func() *survey) (*survey, error) {
	var waited mutable.Prefix
	var since time.Time
	for torn := 0; ; {
		s := look()
		if _, err := s.best(); err != nil {
			return nil, err
		}
		now := m.env.Clock.Now()
		switch {
		case s.torn() && torn < 2:
			torn++
			continue
		case !s.unfinished():
			return s, nil
		case s.versions[0].Prefix != waited:
			waited, since = s.versions[0].Prefix, now
		case now.Sub(since) >= writePatience:
			return s, nil
		}
		f.sleep(m.env.Jitter(writeAgain))
	}
}

// written is what came of it.
type written struct {
	*writing
	content []byte // of all of the file, nil if it is not known
}

// writeOnto writes onto the newest version that can be read.
func (m *mutableFile) writeOnto(f *flow, w WriteMutable, s *survey, data []byte) (written, error) {
	v, err := s.best()
	if err != nil {
		return written{}, err
	}
	if w.Base != nil && *w.Base != v.Prefix {
		return written{}, &ConflictError{Clean: true}
	}
	if err := m.openKey(f, s); err != nil {
		return written{}, err
	}
	seqnum, err := mutable.NextSeqnum(s.versions)
	if err != nil {
		return written{}, err
	}
	d, content, err := m.draft(f, w, s, v.Prefix, seqnum, data)
	if err != nil {
		return written{}, err
	}
	job := m.newWriting(s, &v.Prefix, d, w.Params)
	err = m.place(f, job)
	return written{job, content}, err
}
