package sim_test

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
)

// chaos lets things go wrong in a grid, one after the other, until it ends.
type chaos struct {
	*simGrid
	over bool
	// panics is how many messages there are to one that makes its receiver
	// fail; 0 is no failure.
	panics int
	calm   time.Duration // between two accidents, at most
}

func (c *chaos) begin() {
	if c.panics > 0 {
		c.Inject = func(id string, msg any) bool { return !orders(msg) && c.fails(id) }
	}
	c.tend(&c.over)
	c.next()
}

// fails says whether an actor fails now. Those at the top of a branch, with all
// of it below them, hear less and fail more often; that of the node is
// somebody else's affair.
func (c *chaos) fails(id string) bool {
	switch strings.Count(id, "/") {
	case 0:
		return false
	case 1:
		return c.oneOf(c.panics/20) == 0
	}
	return c.oneOf(c.panics) == 0
}

// orders reports whether a message is what somebody outside of the actors
// asked for: a failure loses it, and only the asker can know.
func orders(msg any) bool {
	switch msg.(type) {
	case client.Put, client.Open, client.AskStatus, actors.ToClient, client.ReadRange, client.MorePieces:
		return true
	}
	return false
}

func (c *chaos) end() {
	c.over = true
	c.heal()
}

func (c *chaos) next() {
	c.After(c.upTo(c.calm), func() {
		if !c.over {
			c.accident()
			c.next()
		}
	})
}

// upTo draws a time.
func (g *simGrid) upTo(d time.Duration) time.Duration {
	return time.Duration(g.Rand().Int64N(int64(d)))
}

func (g *simGrid) oneOf(n int) int { return int(g.Rand().Int64N(int64(n))) }

// accident is one thing that goes wrong.
func (c *chaos) accident() {
	server, who := &c.servers[c.oneOf(len(c.servers))].node, &c.clients[c.oneOf(len(c.clients))].node
	switch n := c.oneOf(20); {
	case n < 8:
		c.net.Drop(server.name, who.name)
	case n < 11:
		c.cut(server, who)
	case n < 14:
		c.net.SetLatency(server.name, who.name, c.upTo(time.Second), 1+c.upTo(300*time.Millisecond))
	case n < 17:
		server.bounce(server.life, c.upTo(10*time.Second))
	case n < 18:
		c.intro.bounce(c.intro.life, c.upTo(time.Minute))
	case n < 19:
		c.net.Refuse(server.name, true)
		c.After(c.upTo(20*time.Second), func() { c.net.Refuse(server.name, false) })
	case c.oneOf(3) == 0:
		who.bounce(who.life, c.upTo(10*time.Second))
	}
}

// cut a link for a while: shorter or longer than it takes to be noticed.
func (c *chaos) cut(a, b *node) {
	c.net.Partition(a.name, b.name)
	c.After(c.upTo(time.Minute), func() { c.net.Heal(a.name, b.name) })
}

// aFile is content of any size up to most, and how to store it at n servers.
func (g *simGrid) aFile(most, n int) ([]byte, file.Params) {
	data := make([]byte, 56+g.oneOf(most-56))
	_, _ = g.Rand().Read(data) // never fails
	total := 1 + g.oneOf(n+2)
	happy := 1 + g.oneOf(min(total, n))
	needed := 1 + g.oneOf(happy)
	return data, file.Params{
		Needed: needed, Happy: happy, Total: total,
		SegmentSize: int64(1+g.oneOf(16)) << (8 + g.oneOf(6)),
	}
}

// user is a person who stores and reads, one thing after the other.
type user struct {
	*simGrid
	c      *clientNode
	things int // left to do
	most   int // bytes of a file
}

func (u *user) next() { u.After(u.upTo(3*time.Second), u.act) }

func (u *user) act() {
	if u.things == 0 {
		return
	}
	if !u.c.up {
		u.next()
		return
	}
	u.things--
	u.checkUsage(u.servers[u.oneOf(len(u.servers))])
	if len(u.files) == 0 || u.oneOf(2) == 0 {
		data, p := u.aFile(u.most, len(u.servers))
		u.put(u.c, data, p, func(*storedFile, error) { u.next() })
		return
	}
	f := u.files[u.oneOf(len(u.files))]
	if u.oneOf(6) == 0 {
		u.put(u.c, f.data, f.params, func(*storedFile, error) { u.next() })
		return
	}
	from := u.oneOf(len(f.data))
	u.get(u.c, f.cap, f.data, from, u.oneOf(len(f.data)-from+1), func(error) { u.next() })
}

// busy lets every client do things until all of them are done.
func (g *simGrid) busy(things, most int) error {
	var users []*user
	for _, c := range g.clients {
		u := &user{g, c, things, most}
		users = append(users, u)
		u.next()
	}
	done := func() bool {
		for _, u := range users {
			if u.things > 0 {
				return false
			}
		}
		return g.jobs == 0
	}
	for end := g.Now().Add(6 * time.Hour); !done() && g.Now().Before(end); {
		if err := g.For(10 * time.Second); err != nil {
			return err
		}
		g.overdue()
	}
	return g.verdict()
}

// patience is how long a job may go without coming on.
const patience = 5 * time.Minute

// overdue holds that what a client asks for ends.
func (g *simGrid) overdue() {
	for _, c := range g.clients {
		for _, j := range slices.Clone(c.jobs) {
			if j.reader != nil && !g.Alive(j.reader.Id) {
				j.end(errGone)
				continue
			}
			if g.Now().Sub(j.moved) > patience {
				g.violated("%s of %s, begun at %v, got no answer for %v", j.what, c.name, j.began.Sub(simStart), patience)
				j.end(errors.New("overdue"))
			}
		}
	}
}
