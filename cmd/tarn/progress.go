package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// drawPause is how often a line of progress is drawn at most.
const drawPause = 100 * time.Millisecond

// progress shows a person how far something is, with rate and time left; it shows a
// program nothing. It may be told by several at a time.
type progress struct {
	out     io.Writer // nil for a program
	columns func() int
	now     func() time.Time

	mu    sync.Mutex
	meter meter
	drawn time.Time // when the line was drawn last
	shown bool      // it stands on the terminal
	ended bool
}

// progress begins with a total of bytes, -1 if that is not known.
func (e *env) progress(what string, total int64) *progress {
	p := &progress{columns: e.columns, now: time.Now}
	if e.terminal {
		p.out = e.stderr
	}
	p.meter = newMeter(what, total, p.now())
	return p
}

// filesProgress is that of many files; how many there are is found on the way.
func (e *env) filesProgress(what string) *progress {
	p := e.progress(what, 0)
	p.meter.unit, p.meter.counting = "file", true
	return p
}

// counting is that of objects of which nobody knows how many there are.
func (e *env) counting(what string) *progress {
	p := e.progress(what, 0)
	p.meter.unit, p.meter.counting = "object", true
	return p
}

// objects says how many are done, and how many bytes were read for that, if any.
func (p *progress) objects(n, bytes int64) {
	p.change(func(m *meter) { m.done = amount{n, bytes} })
}

// at says how far it is, in bytes.
func (p *progress) at(done, total int64) {
	p.change(func(m *meter) {
		m.done.bytes = done
		if total > 0 {
			m.all.bytes = total
		}
	})
}

// add counts bytes.
func (p *progress) add(bytes int64) { p.change(func(m *meter) { m.done.bytes += bytes }) }

// Write counts bytes.
func (p *progress) Write(b []byte) (int, error) {
	p.add(int64(len(b)))
	return len(b), nil
}

// file says that one more file is done; its bytes are counted apart.
func (p *progress) file() { p.change(func(m *meter) { m.done.files++ }) }

// found says that there is one more file to do.
func (p *progress) found(bytes int64) {
	p.change(func(m *meter) { m.all.files++; m.all.bytes += bytes })
}

// counted says that all were found.
func (p *progress) counted() { p.change(func(m *meter) { m.counting = false }) }

// change draws the line, if the last one is old enough.
func (p *progress) change(do func(*meter)) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	do(&p.meter)
	if now := p.now(); !p.ended && now.Sub(p.drawn) >= drawPause {
		p.drawn, p.shown = now, true
		line := p.meter.line(now)
		if p.columns != nil {
			line = cut(line, p.columns())
		}
		_, _ = fmt.Fprintf(p.out, "\r%s\x1b[K", line) // that it can't be drawn is no reason to stop
	}
}

// beside writes something else to the terminal.
func (p *progress) beside(write func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	write()
}

// hide takes the line away until there is something new to show.
func (p *progress) hide() { p.beside(func() {}) }

// clear needs the mutex.
func (p *progress) clear() {
	if p.shown {
		p.shown = false
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// end removes the line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.ended = true
}

// beside does something for a person while something else is done, until that is
// over: stop is called then, and returns when nothing goes on.
func (e *env) beside(ctx context.Context, do func(context.Context)) (stop func()) {
	if !e.terminal {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var going sync.WaitGroup
	going.Go(func() { do(ctx) })
	return func() { cancel(); going.Wait() }
}
