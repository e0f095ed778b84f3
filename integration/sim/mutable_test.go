package sim_test

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport/wire"
)

// counterKey is the key of the only mutable file that a world has: Go makes keys
// of the system's randomness alone, so it is always the same, from the test vectors
// of Tahoe-LAFS.
//
//go:embed testdata/mutable.pem
var counterKey []byte

var counterParams = file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}

// counter is a mutable file with a number in it, to which clients add, each one
// after the other.
type counter struct {
	*simGrid
	cap     file.Mutable
	format  mutable.Format
	size    int // of the file: what follows the number are spaces
	acked   int // additions that somebody was told of
	perhaps int // of which it is not known whether they count
	left    int // writers that have not ended
}

// content is what is to be written.
type mutableContent struct{ *bytes.Reader }

func (mutableContent) Close() error { return nil }

func contentOf(text string) client.Content { return mutableContent{bytes.NewReader([]byte(text))} }

// create makes the file.
func (c *counter) create() error {
	of, err := mutable.ParsePEM(counterKey)
	if err != nil {
		return err
	}
	text := c.text(0)
	made, err := c.job(c.clients[0], "create", func(j *job) any {
		return client.CreateMutable{ReplyTo: j.replyTo, Format: c.format, Key: of, Content: contentOf(text), Size: int64(len(text)), Params: counterParams}
	})
	if err != nil {
		return err
	}
	c.cap = made.(client.MutableWritten).Cap
	return nil
}

// text is the content of the file.
func (c *counter) text(number int) string {
	text := strconv.Itoa(number)
	return text + strings.Repeat(" ", max(0, c.size-len(text)))
}

// number is what a content says.
func (c *counter) number(content string) (int, error) {
	return strconv.Atoi(strings.TrimSpace(content))
}

// job asks a client and waits for its last word.
func (c *counter) job(n *clientNode, what string, request func(*job) any) (last any, err error) {
	c.ask(n, what, request, func(l any, e error) { last, err = l, e })
	if waitErr := c.wait(time.Hour); waitErr != nil {
		return nil, waitErr
	}
	return last, err
}

// ask tells then what a client says in the end; of what is read that is the
// content.
func (c *counter) ask(n *clientNode, what string, request func(*job) any, then func(any, error)) {
	var last any
	j := c.begin(n, what, func(err error) { then(last, err) })
	var content []byte
	var version mutable.Prefix
	j.replyTo = c.inbox(func(msg any) bool {
		if j.done {
			return true
		}
		switch m := msg.(type) {
		case client.MutableWritten, client.Checked, client.Repaired:
			last = m
			j.end(nil)
		case client.MutableOpened:
			version, content = m.Version, nil
		case client.Piece:
			content = append(content, m.Data...)
		case client.RangeEnd:
			last = versionRead{string(content), version}
			j.end(nil)
		case error:
			j.end(m)
		}
		return j.done
	})
	c.send(&n.node, actors.ToClient{Message: request(j)}, j.replyTo)
}

type versionRead struct {
	text    string
	version mutable.Prefix
}

func (c *counter) read(n *clientNode, remembered bool, then func(versionRead, error)) {
	c.ask(n, "read", func(j *job) any {
		return client.ReadMutable{ReplyTo: j.replyTo, Cap: c.cap, Length: -1, Credit: 100, Remembered: remembered, Params: counterParams}
	}, func(last any, err error) {
		r, _ := last.(versionRead)
		then(r, err)
	})
}

// writer has a client add to the number so many times.
func (c *counter) writer(n *clientNode, times int) {
	if times == 0 {
		c.left--
		return
	}
	c.add(n, true, func() { c.writer(n, times-1) })
}

// add is one addition, begun anew as long as nothing of it was written.
func (c *counter) add(n *clientNode, remembered bool, then func()) {
	later := func(fn func()) { c.After(time.Duration(c.oneOf(2000))*time.Millisecond, fn) }
	if !n.up {
		later(func() { c.add(n, false, then) })
		return
	}
	c.read(n, remembered, func(r versionRead, err error) {
		if err != nil {
			later(func() { c.add(n, false, then) }) // nothing was written
			return
		}
		value, err := c.number(r.text)
		if err != nil {
			c.violated("%s read %.40q as the number", n.name, r.text)
		}
		text := c.text(value + 1)
		c.ask(n, "write", func(j *job) any {
			return client.WriteMutable{ReplyTo: j.replyTo, Cap: c.cap, Content: contentOf(text), Size: int64(len(text)), Base: &r.version, Params: counterParams}
		}, func(_ any, err error) {
			var conflict *client.ConflictError
			switch {
			case err == nil:
				c.acked++
			case errors.As(err, &conflict) && conflict.Clean:
				later(func() { c.add(n, false, then) })
				return
			default:
				c.perhaps++
			}
			later(then)
		})
	})
}

// race has all clients add, and compares what the number is in the end with what
// they were told.
func (c *counter) race(times int) error {
	for _, n := range c.clients {
		c.left++
		c.writer(n, times)
	}
	return c.Until(func() bool { return c.left == 0 }, 24*time.Hour)
}

// shown holds that every addition that was acknowledged counts, once.
func (c *counter) shown() error {
	for _, n := range c.clients {
		var got versionRead
		var failed error
		c.read(n, false, func(r versionRead, err error) { got, failed = r, err })
		if err := c.wait(time.Hour); err != nil {
			return err
		}
		if failed != nil {
			return fmt.Errorf("%s can't read the number: %w", n.name, failed)
		}
		value, err := c.number(got.text)
		if err != nil || value < c.acked || value > c.acked+c.perhaps {
			return fmt.Errorf("the number is %.40q after %d additions, and %d of which nobody knows", got.text, c.acked, c.perhaps)
		}
	}
	return errors.Join(c.errs...)
}

func newCounter(w *sim.World, prepare func(*simGrid)) (*counter, error) {
	g, err := aGrid{servers: 4, clients: 2, prepare: prepare}.build(w)
	if err != nil {
		return nil, err
	}
	c := &counter{simGrid: g, size: 1}
	return c, c.create()
}

// newHeavy is a counter in a file of so many bytes.
func newHeavy(w *sim.World, f mutable.Format, size int) (*counter, error) {
	g, err := aGrid{servers: 4, clients: 2}.build(w)
	if err != nil {
		return nil, err
	}
	c := &counter{simGrid: g, format: f, size: size}
	return c, c.create()
}

// twoWriters is a race in fine weather: nothing is left unknown.
func twoWriters(w *sim.World) error {
	c, err := newCounter(w, nil)
	if err != nil {
		return err
	}
	if err := c.race(10); err != nil {
		return err
	}
	if c.acked != 20 || c.perhaps != 0 {
		return fmt.Errorf("%d additions were acknowledged, of %d nobody knows", c.acked, c.perhaps)
	}
	return c.shown()
}

func TestTwoWritersSeeds(t *testing.T) {
	for _, seed := range sim.Seeds(5) {
		if err := sim.Check(seed, twoWriters); err != nil {
			t.Error(err)
		}
	}
}

// badWeather is a race while servers and clients lose power and links break.
func badWeather(w *sim.World) error {
	c, err := newCounter(w, nil)
	if err != nil {
		return err
	}
	return c.weather(15)
}

// weather is such a race.
func (c *counter) weather(times int) error {
	stop := false
	c.tend(&stop)
	c.trouble(&stop)
	if err := c.race(times); err != nil {
		return err
	}
	stop = true
	c.heal()
	if err := c.connected(); err != nil {
		return err
	}
	if err := c.For(2 * time.Minute); err != nil {
		return err
	}
	return c.shown()
}

// trouble comes every few seconds until stop.
func (c *counter) trouble(stop *bool) {
	c.After(time.Duration(500+c.oneOf(8000))*time.Millisecond, func() {
		if *stop {
			return
		}
		s := c.servers[c.oneOf(len(c.servers))]
		n := c.clients[c.oneOf(len(c.clients))]
		switch c.oneOf(3) {
		case 0:
			s.bounce(s.life, time.Duration(1+c.oneOf(5))*time.Second)
		case 1:
			n.bounce(n.life, time.Duration(1+c.oneOf(5))*time.Second)
		default:
			c.net.Partition(s.name, n.name)
			c.After(time.Duration(c.oneOf(10))*time.Second, func() { c.net.Heal(s.name, n.name) })
		}
		c.trouble(stop)
	})
}

func TestWritersInBadWeatherSeeds(t *testing.T) {
	for _, seed := range sim.Seeds(10) {
		if err := badWeather(sim.New(seed, nil)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// Large shares are files, and staged: a power failure while one is written leaves
// the old or the new.
func TestHeavyWritersInBadWeatherSeeds(t *testing.T) {
	for _, seed := range sim.Seeds(2) {
		for _, f := range []mutable.Format{mutable.SDMF, mutable.MDMF} {
			c, err := newHeavy(sim.New(seed, nil), f, 700_000)
			if err == nil {
				err = c.weather(5)
			}
			if err != nil {
				t.Errorf("seed %d, %v: %v", seed, f, err)
			}
		}
	}
}

// One server that lies about shares, or forgets what it was told, harms nobody.
func TestMutableLiesSeeds(t *testing.T) {
	for name, lie := range mutableLies {
		for _, seed := range sim.Seeds(2) {
			err := lying(sim.New(seed, nil), lie)
			if err != nil {
				t.Errorf("a server that %s, seed %d: %v", name, seed, err)
			}
		}
	}
}

// mutableLies are what a server may do about mutable files.
var mutableLies = map[string]func(*simGrid, *liar){
	"spoils what it reads": func(g *simGrid, l *liar) {
		l.answers = func(f wire.Frame) []wire.Frame {
			if _, ok := f.Message.(*wire.Found); ok && f.BodySize() > 0 {
				return []wire.Frame{g.flip(f)}
			}
			return []wire.Frame{f}
		}
	},
	"says that it has nothing": func(_ *simGrid, l *liar) {
		l.answers = func(f wire.Frame) []wire.Frame {
			if _, ok := f.Message.(*wire.Found); ok {
				return []wire.Frame{{ID: f.ID, Answer: true, Message: &wire.Found{}}}
			}
			return []wire.Frame{f}
		}
	},
	"refuses every write": func(_ *simGrid, l *liar) {
		l.hears = func(f wire.Frame) []wire.Frame {
			if _, ok := f.Message.(*wire.Mutate); ok {
				return []wire.Frame{{ID: f.ID, Answer: true, Message: &wire.Error{Code: wire.OverQuota}}}
			}
			return nil
		}
	},
	"says that it wrote and does not": func(_ *simGrid, l *liar) {
		l.hears = func(f wire.Frame) []wire.Frame {
			if _, ok := f.Message.(*wire.Mutate); ok {
				return []wire.Frame{{ID: f.ID, Answer: true, Message: &wire.Mutated{Done: true}}}
			}
			return nil
		}
	},
}

func lying(w *sim.World, lie func(*simGrid, *liar)) error {
	c, err := newCounter(w, func(g *simGrid) {
		l := &liar{g: g}
		lie(g, l)
		g.servers[2].lies = l.wrap
	})
	if err != nil {
		return err
	}
	c.clients = c.clients[:1]
	if err := c.race(6); err != nil {
		return err
	}
	if c.acked == 0 {
		return fmt.Errorf("nothing was acknowledged; of %d additions nobody knows", c.perhaps)
	}
	return c.shown()
}

// A server that goes back to what it held a while ago is overtaken.
func TestServerRollsBack(t *testing.T) {
	for _, seed := range sim.Seeds(3) {
		c, err := newCounter(sim.New(seed, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			s := c.servers[(int(seed)+round)%4]
			old, err := s.disk.AfterCrash()
			if err != nil {
				t.Fatal(err)
			}
			s.disk.Store, err = old.AfterCrash()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.race(3); err != nil {
				t.Fatal(err)
			}
			s.crash()
			s.disk.Store = old
			s.start()
			if err := errors.Join(c.connected(), c.shown()); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
}

// Servers that do not test what they are to test lose additions, and the model
// says so.
func TestModelFindsUntestedWrites(t *testing.T) {
	for seed := range uint64(maxWorlds) {
		c, err := newCounter(sim.New(seed, nil), func(g *simGrid) {
			for _, s := range g.servers {
				l := &liar{g: g, hears: func(f wire.Frame) []wire.Frame {
					dropTests(f)
					return nil
				}}
				s.lies = l.wrap
			}
		})
		if err == nil {
			err = c.race(10)
		}
		if err == nil {
			err = c.shown()
		}
		if err != nil && strings.Contains(err.Error(), "the number is") {
			return
		}
		if err != nil {
			t.Fatalf("seed %d: the model says something else: %v", seed, err)
		}
	}
	t.Errorf("%d worlds, and nobody noticed", maxWorlds)
}

// dropTests takes the tests out of a Mutate.
func dropTests(f wire.Frame) {
	m, ok := f.Message.(*wire.Mutate)
	if !ok {
		return
	}
	var body []byte
	r := bytes.NewReader(f.Bytes())
	for i, s := range m.Shares {
		for _, test := range s.Tests {
			_, _ = io.CopyN(io.Discard, r, int64(test.Wanted)) // it is there
		}
		part, _ := io.ReadAll(io.LimitReader(r, int64(s.Written())))
		body = append(body, part...)
		m.Shares[i].Tests = nil
	}
	f.Body[0] = body
}
