package sim_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// lies are ways in which a server can go wrong, each for a fresh liar.
var lies = map[string]func(l *liar){
	"flips a bit in each answer to a read":        func(l *liar) { l.answers = l.flipData },
	"flips a bit now and then":                    func(l *liar) { l.answers = l.sometimes(l.flipData) },
	"names other UEB hashes":                      func(l *liar) { l.answers = otherHashes },
	"says that it has stored what it has not":     func(l *liar) { l.hears = storedAtOnce },
	"knows the hash, and stores nothing":          func(l *liar) { l.hears = storedWithHash },
	"falls silent":                                func(l *liar) { l.answers = silence },
	"falls silent in the middle":                  func(l *liar) { l.answers = l.after(12, silence) },
	"never says that a pull has ended":            func(l *liar) { l.answers = without[*wire.Stored] },
	"never pulls":                                 func(l *liar) { l.answers = without[*wire.ReadOffer] },
	"pulls half of it":                            func(l *liar) { l.answers = l.after(6, without[*wire.ReadOffer]) },
	"holds something whenever it is offered more": func(l *liar) { l.hears = holdsSome },
	"says everything twice":                       func(l *liar) { l.answers = twice },
	"repeats what it said before":                 func(l *liar) { l.answers = l.replay() },
	"answers what nobody asked":                   func(l *liar) { l.answers = unasked },
	"sends more than fits":                        func(l *liar) { l.answers = tooMuch },
	"cuts its answers short":                      func(l *liar) { l.answers = short },
	"says that lengths are what they are not":     func(l *liar) { l.answers = wrongLengths },
	"finds shares that can't be":                  func(l *liar) { l.answers = phantoms },
	"asks for what is not in the share":           func(l *liar) { l.answers = greedy },
	"asks for everything at once, for ever":       func(l *liar) { l.answers = flood },
	"refuses with every code there is":            func(l *liar) { l.answers = l.refuse() },
}

func only(f wire.Frame) []wire.Frame { return []wire.Frame{f} }

func silence(f wire.Frame) []wire.Frame {
	f.Release()
	return nil
}

// with replaces the message of a frame.
func with(f wire.Frame, m wire.Message) wire.Frame {
	f.Message = m
	return f
}

func without[M wire.Message](f wire.Frame) []wire.Frame {
	if _, ok := f.Message.(M); ok {
		return silence(f)
	}
	return only(f)
}

func (l *liar) flipData(f wire.Frame) []wire.Frame {
	if f.BodySize() == 0 {
		return only(f)
	}
	return only(l.g.flip(f))
}

func (l *liar) sometimes(lie func(wire.Frame) []wire.Frame) func(wire.Frame) []wire.Frame {
	return func(f wire.Frame) []wire.Frame {
		if l.g.oneOf(3) > 0 {
			return only(f)
		}
		return lie(f)
	}
}

// after lets n frames pass first.
func (l *liar) after(n int, lie func(wire.Frame) []wire.Frame) func(wire.Frame) []wire.Frame {
	return func(f wire.Frame) []wire.Frame {
		if n--; n >= 0 {
			return only(f)
		}
		return lie(f)
	}
}

func otherHashes(f wire.Frame) []wire.Frame {
	switch m := f.Message.(type) {
	case *wire.Allocated:
		lie := *m
		lie.UEBHash[3] ^= 1
		return only(with(f, &lie))
	case *wire.Stored:
		lie := *m
		lie.UEBHash[3] ^= 1
		return only(with(f, &lie))
	case *wire.Found:
		lie := *m
		lie.Shares = slices.Clone(m.Shares)
		for i := range lie.Shares {
			lie.Shares[i].UEBHash[3] ^= 1
		}
		return only(with(f, &lie))
	}
	return only(f)
}

func storedAtOnce(f wire.Frame) []wire.Frame {
	if _, ok := f.Message.(*wire.Allocate); !ok {
		return nil
	}
	return only(wire.Frame{ID: f.ID, Answer: true, Message: &wire.Allocated{State: wire.NowStored}})
}

// storedWithHash can only know the hash of what came along with the offer.
func storedWithHash(f wire.Frame) []wire.Frame {
	m, ok := f.Message.(*wire.Allocate)
	if !ok || uint64(f.BodySize()) < m.Size {
		return nil
	}
	v := immutable.NewShareVerifier(m.Num, int64(m.Size))
	if _, err := v.Write(f.Bytes()); err != nil {
		return nil
	}
	hash, _, err := v.Finish()
	if err != nil {
		return nil
	}
	return only(wire.Frame{ID: f.ID, Answer: true, Message: &wire.Allocated{State: wire.AlreadyHere, UEBHash: hash}})
}

// holdsSome is an answer to a share that is only tried, never to an offer.
func holdsSome(f wire.Frame) []wire.Frame {
	if _, ok := f.Message.(*wire.Allocate); !ok {
		return nil
	}
	return only(wire.Frame{ID: f.ID, Answer: true, Message: &wire.Found{Room: 1 << 40}})
}

func twice(f wire.Frame) []wire.Frame {
	if f.ID == 0 && f.Message.Kind() == wire.KindOpenOffer {
		return only(f)
	}
	return []wire.Frame{again(f), f}
}

func (l *liar) replay() func(wire.Frame) []wire.Frame {
	var said []wire.Frame
	return func(f wire.Frame) []wire.Frame {
		if !f.Answer {
			return only(f)
		}
		out := []wire.Frame{f}
		if len(said) > 0 {
			old := again(said[l.g.oneOf(len(said))])
			out = append(out, old, wire.Frame{ID: f.ID + 1, Answer: true, Message: old.Message}.WithBody(nil, again(old).Body...))
		}
		said = append(said, again(f))
		return out
	}
}

func unasked(f wire.Frame) []wire.Frame {
	if !f.Answer {
		return only(f)
	}
	junk := []wire.Frame{
		{ID: f.ID + 1, Answer: true, Message: &wire.Done{}},
		{ID: 1 << 40, Answer: true, Message: &wire.Leased{Count: 7}},
		{Message: &wire.Stored{Num: 3}},
		{ID: f.ID + 2, Answer: true, Message: &wire.UsageReport{}},
	}
	return append(junk, f)
}

func tooMuch(f wire.Frame) []wire.Frame {
	if _, ok := f.Message.(*wire.Data); !ok {
		return only(f)
	}
	f.Release()
	return only(wire.Frame{ID: f.ID, Answer: true, Message: &wire.Data{Lengths: []uint64{wire.MaxBody + 1}}}.WithBody(nil, make([]byte, wire.MaxBody+1)))
}

func short(f wire.Frame) []wire.Frame {
	m, ok := f.Message.(*wire.Data)
	if !ok || f.BodySize() < 2 {
		return only(f)
	}
	lie := again(f)
	f.Release()
	lengths := slices.Clone(m.Lengths)
	last := len(lengths) - 1
	half := lengths[last] / 2
	body := bytes.Join(lie.Body, nil)
	body = body[:uint64(len(body))-(lengths[last]-half)]
	lengths[last] = half
	return only(wire.Frame{ID: f.ID, Answer: true, Message: &wire.Data{Lengths: lengths}}.WithBody(nil, body))
}

func wrongLengths(f wire.Frame) []wire.Frame {
	if _, ok := f.Message.(*wire.Data); ok {
		return only(with(f, &wire.Data{Lengths: []uint64{math.MaxUint64, 2, 1}}))
	}
	return only(f)
}

func phantoms(f wire.Frame) []wire.Frame {
	if m, ok := f.Message.(*wire.Found); ok {
		f.Release()
		var all []wire.FoundShare
		for n := range wire.MaxFoundShares {
			all = append(all, wire.FoundShare{Num: grid.ShareNum(n), Size: wire.MaxShareSize})
		}
		return only(wire.Frame{ID: f.ID, Answer: true, Message: &wire.Found{Shares: all, Room: m.Room}})
	}
	return only(f)
}

func greedy(f wire.Frame) []wire.Frame {
	if m, ok := f.Message.(*wire.ReadOffer); ok {
		lie := *m
		lie.Offset = math.MaxUint64 - lie.Length/2
		lie.Have = math.MaxUint64
		return only(with(f, &lie))
	}
	return only(f)
}

func flood(f wire.Frame) []wire.Frame {
	m, ok := f.Message.(*wire.ReadOffer)
	if !ok {
		return only(f)
	}
	out := []wire.Frame{f}
	for i := range uint64(50) {
		lie := *m
		lie.Offset, lie.Length, lie.Have = 0, 100, 0
		out = append(out, wire.Frame{ID: f.ID + 1000 + i, Message: &lie})
	}
	return out
}

func (l *liar) refuse() func(wire.Frame) []wire.Frame {
	code := wire.Code(0)
	return func(f wire.Frame) []wire.Frame {
		if !f.Answer {
			return only(f)
		}
		f.Release()
		code = code%20 + 1
		return only(wire.Frame{ID: f.ID, Answer: true, Message: wire.NewError(code, "no")})
	}
}

// liarsBound is how long a job may take that liars hold up: a question that is
// not answered, an offer, a pull that stalls, and then the same at the next
// one.
const liarsBound = 150 * time.Second

// mostHonest are files that three honest servers of five can keep.
var mostHonest = []file.Params{
	{Needed: 2, Happy: 3, Total: 5, SegmentSize: 128 << 10}, // goes along with its offer
	{Needed: 2, Happy: 3, Total: 5, SegmentSize: 4 << 10},   // is pulled
}

// lied is a grid in which two servers of five lie in one way.
func lied(lie func(*liar)) func(w *sim.World) error {
	return func(w *sim.World) error {
		var liars []*liar
		g, err := aGrid{servers: 5, clients: 2, prepare: func(g *simGrid) {
			for _, s := range g.servers[:2] {
				l := &liar{g: g}
				s.lies = l.wrap
				liars = append(liars, l)
			}
		}}.build(w)
		if err != nil {
			return err
		}
		for _, p := range mostHonest {
			if _, err := g.putNow(g.clients[0], g.content(90_000), p); err != nil {
				return fmt.Errorf("put before anybody lies: %w", err)
			}
		}
		for _, l := range liars {
			lie(l)
		}
		return g.amongLiars()
	}
}

// amongLiars holds that files can be read, and stored as far as there are
// honest servers.
func (g *simGrid) amongLiars() error {
	for i, f := range slices.Clone(g.files) {
		if err := g.inTime(func() error { return g.getNow(g.clients[i%2], f) }); err != nil {
			g.violated("file %d, stored before anybody lied, can't be read: %w", i, err)
		}
	}
	for i, p := range mostHonest {
		var f *storedFile
		err := g.inTime(func() (err error) {
			f, err = g.putNow(g.clients[1], g.content(90_000), p)
			return err
		})
		if err != nil {
			g.violated("file %d can't be stored, and three honest servers are there: %w", i, err)
			continue
		}
		if g.honestShares(f) < p.Needed {
			continue // happiness of three may be two liars'; a checker would tell
		}
		if err := g.inTime(func() error { return g.getNow(g.clients[0], f) }); err != nil {
			g.violated("file %d can't be read: %w", i, err)
		}
	}
	return g.verdict()
}

// honestShares is how many shares of a file honest servers hold.
func (g *simGrid) honestShares(f *storedFile) int {
	n := 0
	for _, num := range slices.Sorted(maps.Keys(f.stored.Placement)) {
		if slices.ContainsFunc(f.stored.Placement[num], func(id grid.ServerID) bool { return g.honest(id) != nil }) {
			n++
		}
	}
	return n
}

func (g *simGrid) inTime(do func() error) error {
	began := g.Now()
	err := do()
	if took := g.Now().Sub(began); took > liarsBound {
		g.violated("it took %v", took)
	}
	return err
}

func TestLiarsSeeds(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(lies)) {
		if err := checkEach(fewer(1), lied(lies[name])); err != nil {
			t.Errorf("a server that %s: %v", name, err)
		}
	}
}

// thief keeps what a client says to log in and says it elsewhere.
func thief(w *sim.World) error {
	var login *wire.Login
	var reference []byte
	g, err := aGrid{servers: 2, clients: 1, prepare: func(g *simGrid) {
		l := &liar{g: g, hears: func(f wire.Frame) []wire.Frame {
			if m, ok := f.Message.(*wire.Login); ok {
				login = m
			}
			return nil
		}, answers: func(f wire.Frame) []wire.Frame {
			if m, ok := f.Message.(*wire.LoggedIn); ok {
				reference = m.Reference
			}
			return only(f)
		}}
		g.servers[0].lies = l.wrap
	}}.build(w)
	if err != nil {
		return err
	}
	for _, m := range []wire.Message{login, &wire.Resume{Reference: reference}} {
		if got, err := g.say(g.servers[1], m); err != nil || got.Kind() != wire.KindError {
			return fmt.Errorf("a thief who said %T was answered %T (%w)", m, got, orNil(err))
		}
	}
	return nil
}

// say connects to a server as anybody can, and says one thing.
func (g *simGrid) say(to *storageNode, m wire.Message) (answer wire.Message, err error) {
	var session transport.Session
	g.net.Dialer("thief").Dial(
		transport.Target{Server: to.id(), Hints: []grid.Hint{grid.Hint("/dns/" + to.name + "/tcp/1")}, Connections: transport.DirectConnections},
		transport.SessionEvents{}, func(s transport.Session, dialled error) { session, err = s, dialled })
	if late := g.Until(func() bool { return session != nil || err != nil }, time.Minute); late != nil || err != nil {
		return nil, fmt.Errorf("dial: %w %w", orNil(late), orNil(err))
	}
	conv := session.Open(transport.Storage, func(ev transport.Event) {
		if r, ok := ev.(transport.Received); ok && r.Frame.ID == 2 {
			answer = r.Frame.Message
		}
	}, 10)
	conv.Send(wire.Frame{ID: 1, Message: &wire.Hello{Version: wire.Version, MaxBody: wire.MaxBody, MaxRequests: 1}})
	conv.Send(wire.Frame{ID: 2, Message: m})
	err = g.Until(func() bool { return answer != nil }, time.Minute)
	session.Close()
	return answer, err
}

func TestThiefGainsNothing(t *testing.T) { checkSeeds(t, 1, thief) }

// idlers take every offer and read nothing of a file that is larger than what
// a client holds encoded.
func idlers(w *sim.World) error {
	g, err := aGrid{servers: 2, clients: 1, prepare: func(g *simGrid) {
		for _, s := range g.servers {
			s.lies = (&liar{g: g, answers: without[*wire.ReadOffer]}).wrap
		}
	}}.build(w)
	if err != nil {
		return err
	}
	p := file.Params{Needed: 1, Happy: 1, Total: 8, SegmentSize: 3 << 19}
	err = g.inTime(func() error {
		_, err := g.putNow(g.clients[0], make([]byte, 4*p.SegmentSize), p)
		return err
	})
	var few *placement.TooFewServers
	if !errors.As(err, &few) {
		return fmt.Errorf("servers that read nothing: %w", orNil(err))
	}
	return g.verdict()
}

func TestIdlers(t *testing.T) { checkSeeds(t, 1, idlers) }
