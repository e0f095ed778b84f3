package transport

import (
	"sync"
	"time"
)

// Spread is over how long a node that wants to be anonymous strews what it
// connects to, in any role.
const Spread = 30 * time.Second

// Pace bounds how often something is done: PerMinute times in the long run, Burst
// times at once after a rest.
type Pace struct {
	PerMinute, Burst int

	free time.Time // since when nobody would have had to wait
}

// Wait is how long somebody has to wait now.
func (p *Pace) Wait(now time.Time) time.Duration {
	return max(0, max(0, p.free.Sub(now))-time.Duration(p.Burst-1)*p.each())
}

// Take counts one in. Each moves free on by its share of a minute, from now on at
// least; Burst of them it may be ahead of now.
func (p *Pace) Take(now time.Time) {
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(p.each())
}

func (p *Pace) each() time.Duration { return time.Minute / time.Duration(p.PerMinute) }

// Paced is a Dialer that keeps to a pace: dials beyond it begin later, in their
// order. A router at home remembers so many connections, so all roles of a node
// share one.
func Paced(d Dialer, p Pace) Dialer { return &paced{dialer: d, pace: p} }

type paced struct {
	dialer Dialer

	mu   sync.Mutex
	pace Pace
}

// Dial implements Dialer.
func (p *paced) Dial(t Target, ev SessionEvents, done func(Session, error)) (cancel func()) {
	wait := p.turn(time.Now())
	if wait == 0 {
		return p.dialer.Dial(t, ev, done)
	}
	l := &laterDial{giveUp: func() { done(nil, ErrClosed) }}
	l.timer = time.AfterFunc(wait, func() { l.begin(func() func() { return p.dialer.Dial(t, ev, done) }) })
	return l.cancel
}

// turn is in how long it comes.
func (p *paced) turn(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.pace.Wait(now)
	p.pace.Take(now)
	return wait
}

// laterDial is one that waits. Either it begins or it is given up.
type laterDial struct {
	timer  *time.Timer
	giveUp func()

	mu     sync.Mutex
	begun  func() // cancels it once it has begun
	ending bool
}

func (l *laterDial) begin(dial func() (cancel func())) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ending {
		l.begun = dial()
	}
}

func (l *laterDial) cancel() {
	l.mu.Lock()
	begun, again := l.begun, l.ending
	l.ending = true
	l.mu.Unlock()
	switch {
	case again:
	case begun != nil:
		begun()
	default:
		l.timer.Stop()
		go l.giveUp()
	}
}
