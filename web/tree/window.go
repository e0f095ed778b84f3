package tree

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/tarn-grid/tarn"
)

// How much of a file is held, in bytes: at least this much before and behind what
// was asked for last, and a piece. firstStretch is how much is fetched at first
// where a reader jumps to; who goes on from there gets the rest.
const (
	behind       = 1 << 20
	ahead        = 1 << 20
	firstStretch = 1 << 20
)

// window is the part of a file that is held in memory. A stream of it runs ahead of
// the readers, who may be several, not far apart and not quite in order.
type window struct {
	file tarn.File
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

func newWindow(f tarn.File) *window {
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
	n := int(min(int64(len(p)), w.size-offset))
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.await(offset, offset+int64(n)); err != nil {
		return 0, err
	}
	w.copy(p[:n], offset)
	if n < len(p) {
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
		case from < w.start || from > w.end+ahead:
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
	s := &stream{w, w.stream}
	from := w.end
	go func() { s.ended(w.file.WriteRange(s, from, length)) }()
	w.changed.Broadcast()
}

// trim lets go of what is far behind.
func (w *window) trim() {
	for len(w.chunks) > 0 && w.start+int64(len(w.chunks[0])) < w.wanted-behind {
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

// errStale ends a stream that nobody wants any more.
var errStale = errors.New("somebody reads elsewhere")

// stream is what one range is written to.
type stream struct {
	*window
	number int
}

// Write waits until what comes is wanted.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.current() && s.end-s.wanted >= ahead {
		s.changed.Wait()
	}
	if !s.current() {
		return 0, errStale
	}
	s.chunks = append(s.chunks, bytes.Clone(p))
	s.end += int64(len(p))
	s.trim()
	s.changed.Broadcast()
	return len(p), nil
}

func (s *stream) current() bool { return !s.closed && s.stream == s.number }

func (s *stream) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current() {
		s.running, s.err = false, err
		s.changed.Broadcast()
	}
}
