package tarn

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"sync"
)

// How much of a file is held, in bytes: at least this much before and behind what
// was asked for last, and a piece. firstStretch is how much is fetched at first
// where a reader jumps to; who goes on from there gets the rest. maxStep is how much
// is asked for at once: what is behind has to stay until it is read.
const (
	windowBehind = 1 << 20
	windowAhead  = 1 << 20
	firstStretch = 1 << 20
	maxStep      = 128 << 10
)

// window is the part of a file that is held in memory. A stream of it runs ahead of
// the readers, who may be several, not far apart and not quite in order.
type window struct {
	file File
	size int64

	mu      sync.Mutex
	changed sync.Cond
	chunks  [][]byte // what is held, from start to end
	start   int64
	end     int64
	wanted  int64 // up to where somebody has asked
	stream  int   // the number of the newest stream
	running bool  // it has not ended
	err     error // what it ended with
	jumping bool  // somebody waits for it to begin somewhere else
	closed  bool
}

func newWindow(f File) *window {
	w := &window{file: f, size: f.Size()}
	w.changed.L = &w.mu
	return w
}

// readAt fills p, or says why not.
func (w *window) readAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	if offset >= w.size {
		return 0, io.EOF
	}
	whole := int64(len(p)) <= w.size-offset
	p = p[:min(int64(len(p)), w.size-offset)]
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(p) { // a step at a time, since no more than the window is held
		step := p[n:min(n+maxStep, len(p))]
		from := offset + int64(n)
		if err := w.await(from, from+int64(len(step))); err != nil {
			return n, err
		}
		w.copy(step, from)
		n += len(step)
	}
	if !whole {
		return n, io.EOF
	}
	return n, nil
}

// await returns when the window holds the range. It needs the mutex.
func (w *window) await(from, to int64) error {
	jumps := false
	defer func() {
		if jumps {
			w.jumping = false
			w.changed.Broadcast()
		}
	}()
	for {
		switch {
		case w.closed:
			return fs.ErrClosed
		case from >= w.start && to <= w.end:
			w.want(to)
			return nil
		case from < w.start || from > w.end+windowAhead:
			if !jumps && w.jumping {
				w.changed.Wait()
				continue
			}
			jumps, w.jumping = true, true
			w.jump(from)
		case w.err != nil:
			err := w.err
			w.err = nil // who asks again begins anew
			return err
		case !w.running:
			w.fetch(w.size - w.end)
		}
		w.want(to)
		if !w.closed && (from < w.start || to > w.end) {
			w.changed.Wait()
		}
	}
}

func (w *window) want(to int64) {
	if to > w.wanted {
		w.wanted = to
		w.trim()
		w.changed.Broadcast()
	}
}

// jump begins a new window.
func (w *window) jump(from int64) {
	w.chunks, w.start, w.end, w.wanted, w.err = nil, from, from, from, nil
	length := w.size - from
	if from > 0 {
		length = min(length, firstStretch)
	}
	w.fetch(length)
}

// fetch begins the stream that comes next.
func (w *window) fetch(length int64) {
	w.stream++
	w.running = true
	s := &windowStream{w, w.stream}
	from := w.end
	go func() { s.ended(w.file.WriteRange(s, from, length)) }()
	w.changed.Broadcast()
}

// trim lets go of what is far behind.
func (w *window) trim() {
	for len(w.chunks) > 0 && w.start+int64(len(w.chunks[0])) < w.wanted-windowBehind {
		w.start += int64(len(w.chunks[0]))
		w.chunks = w.chunks[1:]
	}
}

// copy needs a range that is held.
func (w *window) copy(p []byte, offset int64) {
	skip := offset - w.start
	for _, c := range w.chunks {
		if skip >= int64(len(c)) {
			skip -= int64(len(c))
			continue
		}
		n := copy(p, c[skip:])
		if p = p[n:]; len(p) == 0 {
			return
		}
		skip = 0
	}
}

func (w *window) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *window) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.chunks = nil
	w.changed.Broadcast()
	return w.file.Close()
}

// errElsewhere ends a stream that nobody wants any more.
var errElsewhere = errors.New("somebody reads elsewhere")

// windowStream is what one range is written to.
type windowStream struct {
	*window
	number int
}

// Write waits until what comes is wanted.
func (s *windowStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.current() && s.end-s.wanted >= windowAhead {
		s.changed.Wait()
	}
	if !s.current() {
		return 0, errElsewhere
	}
	s.chunks = append(s.chunks, bytes.Clone(p))
	s.end += int64(len(p))
	s.trim()
	s.changed.Broadcast()
	return len(p), nil
}

func (s *windowStream) current() bool { return !s.closed && s.stream == s.number }

func (s *windowStream) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current() {
		s.running, s.err = false, err
		s.changed.Broadcast()
	}
}
