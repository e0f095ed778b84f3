package transport_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tarn-grid/tarn/transport"
)

func TestPace(t *testing.T) {
	p := transport.Pace{PerMinute: 60, Burst: 10}
	now := time.Unix(1000, 0)
	done := 0
	for end := now.Add(10 * time.Minute); now.Before(end); {
		if wait := p.Wait(now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		p.Take(now)
		done++
	}
	if done < 10+599 || done > 10+600 {
		t.Errorf("%d in ten minutes", done)
	}
	now = now.Add(time.Hour) // a rest does not add up to more than a burst
	for done = 0; p.Wait(now) == 0; done++ {
		p.Take(now)
	}
	if done != 10 {
		t.Errorf("%d at once", done)
	}
}

// clocked is a Dialer that notes when it is asked for whom, and reaches nobody.
type clocked struct {
	mu        sync.Mutex
	at        map[byte]time.Duration
	since     time.Time
	cancelled []byte
	ended     map[byte]error
}

func (c *clocked) Dial(t transport.Target, _ transport.SessionEvents, done func(transport.Session, error)) func() {
	n := t.Server[0]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[n] = time.Since(c.since)
	return func() {
		c.mu.Lock()
		c.cancelled = append(c.cancelled, n)
		c.mu.Unlock()
		done(nil, transport.ErrClosed)
	}
}

// end notes how a dial ended.
func (c *clocked) end(n byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[n] = err
}

// TestPacedDialer: some dials begin at once, the others in order, each when its turn
// has come; one that is given up before that never begins.
func TestPacedDialer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocked{at: map[byte]time.Duration{}, ended: map[byte]error{}, since: time.Now()}
		d := transport.Paced(c, transport.Pace{PerMinute: 60, Burst: 3})
		var cancel []func()
		for n := range byte(6) {
			cancel = append(cancel, d.Dial(transport.Target{Server: [32]byte{n}}, transport.SessionEvents{}, func(_ transport.Session, err error) { c.end(n, err) }))
		}
		cancel[4]()
		cancel[4]()
		cancel[0]()
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel[5]()
		c.mu.Lock()
		defer c.mu.Unlock()
		for n, want := range map[byte]time.Duration{0: 0, 1: 0, 2: 0, 3: time.Second, 5: 3 * time.Second} {
			if at, ok := c.at[n]; !ok || at != want {
				t.Errorf("dial %d began after %v (%v), not %v", n, at, ok, want)
			}
		}
		if _, ok := c.at[4]; ok {
			t.Error("a dial that was given up began")
		}
		for _, n := range []byte{0, 4, 5} {
			if !errors.Is(c.ended[n], transport.ErrClosed) {
				t.Errorf("dial %d was given up and ended with %v", n, c.ended[n])
			}
		}
		if !slices.Equal(c.cancelled, []byte{0, 5}) {
			t.Errorf("cancelled were %v", c.cancelled)
		}
	})
}
