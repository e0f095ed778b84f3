package client

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Check asks every server what it has of a file; answered by Checked or an
// error. Where shares are read, Progress comes before.
type Check struct {
	ReplyTo *actor.PID
	CheckSpec
	// Authority to log in under; the node's own where it is empty.
	Authority lease.Authority
}

// CheckSpec says what to check and how.
type CheckSpec struct {
	Cap file.CHKVerifier
	// Happy is on how many distinct servers the file should be.
	Happy int
	// Verify has each share read to its end and proven; else servers are
	// believed.
	Verify bool
	// AddLease makes leases on the good shares.
	AddLease bool
	// Patient waits longer for servers that are being connected to, so that slow
	// ones are not taken for gone.
	Patient bool
}

// Checked answers Check.
type Checked struct {
	health.Report
	// Names is what people call the servers in the report.
	Names map[grid.ServerID]string
	// Leased is on how many shares leases were made, Unleased where they could
	// not be.
	Leased   int
	Unleased []LeftOut

	proven *provenLayout // nil where nothing is proven of the file
	rooms  map[grid.ServerID]uint64
}

// provenLayout is how a file is cut, as its capability proves.
type provenLayout struct {
	immutable.Layout
	ueb []byte
}

// check asks all servers about one file, reads the shares if it is to, several
// at a time and one at each server, and makes leases on what is good.
//
// Owns: what each server said of one file, the shares that are being read.
// On failure: ends with an error; nothing was changed but that leases may have been made.
type check struct {
	env     *env.Env
	log     *slog.Logger
	broker  *actor.PID
	journal Journal
	check   Check
	learns  bool // the layout is wanted though nothing is read

	stage   checkStage
	asked   time.Time // for servers
	servers map[grid.ServerID]*checkPeer
	order   []grid.ServerID
	left    []LeftOut
	copies  []*checkedCopy // by the file's order of servers, then number

	reader   *immutable.Reader
	learning *checkedCopy
	rounds   int
	done     int64 // bytes read, of total
	total    int64
	answered bool
}

// checkStage is what a check waits for.
type checkStage uint8

const (
	finding  checkStage = iota // which servers there are
	asking                     // what each has
	learning                   // how the file is cut
	reading                    // the shares
	leasing                    // leases
	noting                     // that they stand in the journal
)

// checkPeer is a server that is asked.
type checkPeer struct {
	candidate
	waits  int       // answers that are wanted
	since  time.Time // when the last one came, or the first was asked for
	room   uint64
	err    error           // why it said nothing
	wanted []grid.ShareNum // to be leased
	leased wire.Leased
	lease  error
}

// copyState is what is known of a copy of a share.
type copyState uint8

const (
	claimed copyState = iota // the server says that it is the file's
	proved
	corrupt
	unread
)

// checkedCopy is a copy of a share.
type checkedCopy struct {
	server grid.ServerID
	num    grid.ShareNum
	size   int64
	state  copyState
	err    error

	verifier *immutable.ShareVerifier
	begun    bool
	next     int64 // offset of the next read
	fetching bool
	hashing  bool
	waiting  *wire.Frame // has come, and waits for the hashing of what came before
}

func newCheck(e *env.Env, c Config, broker *actor.PID, log *slog.Logger, m Check, learns bool) env.Producer {
	return func() actor.Actor {
		return &check{env: e, log: log, broker: broker, journal: c.Journal, check: m, learns: learns, servers: map[grid.ServerID]*checkPeer{}}
	}
}

// Tags of calls, and results of work.
type (
	findTag  struct{ server grid.ServerID }
	learnTag struct {
		of     *checkedCopy
		ranges []wire.Range
	}
	copyTag struct{ of *checkedCopy }
	holdTag struct{ server grid.ServerID }
	// leasesKept says that new leases are in the journal.
	leasesKept struct{ err error }
	copyTaken  struct {
		of    *checkedCopy
		bytes int64
		err   error
	}
)

// Receive implements actor.Actor.
func (c *check) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.askBroker(ctx)
		c.env.Clock.After(tickInterval, ctx.Self(), tick{})
	case candidateList:
		c.begin(ctx, m)
	case brokerUp:
		if c.stage == finding {
			c.askBroker(ctx)
		}
	case Reply:
		c.reply(ctx, m)
	case copyTaken:
		c.taken(ctx, m)
	case leasesKept:
		c.kept(ctx, m)
	case tick:
		c.tick(ctx)
	case Cancel:
		c.answered = true
		ctx.Stop(ctx.Self())
	case *actor.Restarting:
		c.end(ctx, fmt.Errorf("check the file: %w", ErrInterrupted))
	case *actor.Stopping:
		if !c.answered {
			c.answered = true
			ctx.Send(c.check.ReplyTo, fmt.Errorf("check the file: %w", ErrInterrupted))
		}
	}
}

func (c *check) askBroker(ctx actor.Context) {
	c.asked = c.env.Clock.Now()
	ctx.Send(c.broker, candidates{replyTo: ctx.Self(), si: c.check.Cap.StorageIndex, want: c.check.Cap.Total, patient: c.check.Patient})
}

// begin asks every server what it has.
func (c *check) begin(ctx actor.Context, m candidateList) {
	if c.stage != finding {
		return // it was asked twice
	}
	c.stage, c.left = asking, m.left
	for _, s := range m.servers {
		c.servers[s.id] = &checkPeer{candidate: s}
		c.order = append(c.order, s.id)
	}
	for _, id := range c.order {
		c.call(ctx, id, findTag{id}, &wire.Find{StorageIndex: c.check.Cap.StorageIndex})
	}
	c.goOn(ctx)
}

func (c *check) call(ctx actor.Context, to grid.ServerID, tag any, m wire.Message) {
	p := c.servers[to]
	if p.waits == 0 {
		p.since = c.env.Clock.Now()
	}
	p.waits++
	ctx.Send(p.pid, Call{ReplyTo: ctx.Self(), Tag: tag, Frame: wire.Frame{Message: m}})
}

// waits reports whether any server owes an answer.
func (c *check) waits() bool {
	for _, p := range c.servers {
		if p.waits > 0 {
			return true
		}
	}
	return false
}

// reply takes a server's answer. What is late, of a server that was given up, is
// dropped.
func (c *check) reply(ctx actor.Context, m Reply) {
	switch tag := m.Tag.(type) {
	case findTag:
		m.Frame.Release()
		if c.heard(tag.server) {
			c.found(tag.server, m)
		}
	case learnTag:
		if c.heard(tag.of.server) && c.learning == tag.of {
			c.learned(ctx, tag, m)
		}
		m.Frame.Release()
	case copyTag:
		if !c.heard(tag.of.server) || tag.of.state != claimed {
			m.Frame.Release()
			break
		}
		tag.of.fetching = false
		c.fetched(ctx, tag.of, m)
	case holdTag:
		m.Frame.Release()
		if c.heard(tag.server) {
			c.held(tag.server, m)
		}
	}
	c.goOn(ctx)
}

// heard notes that a server answered; it reports false if it was not waited
// for.
func (c *check) heard(id grid.ServerID) bool {
	p := c.servers[id]
	if p.waits == 0 {
		return false
	}
	p.waits--
	p.since = c.env.Clock.Now()
	return true
}

func (c *check) found(id grid.ServerID, m Reply) {
	f, ok := m.Frame.Message.(*wire.Found)
	if !ok {
		c.servers[id].err = unexpected(m)
		return
	}
	c.servers[id].room = f.Room
	seen := map[grid.ShareNum]bool{}
	for _, s := range f.Shares {
		if seen[s.Num] {
			continue
		}
		seen[s.Num] = true
		held := &checkedCopy{server: id, num: s.Num, size: int64(s.Size)}
		switch {
		case int(s.Num) >= c.check.Cap.Total:
			held.bad(fmt.Errorf("%w: share number %d of %d", immutable.ErrShare, s.Num, c.check.Cap.Total))
		case s.UEBHash != c.check.Cap.UEBHash:
			held.bad(transfer.ErrOtherFile)
		}
		c.copies = append(c.copies, held)
	}
}

func (s *checkedCopy) bad(err error) { s.state, s.err = corrupt, err }

// goOn moves to the next stage once nothing of this one is left.
func (c *check) goOn(ctx actor.Context) {
	for !c.answered {
		before := c.stage
		switch {
		case c.stage == asking && !c.waits():
			c.sortCopies()
			c.stage = learning
		case c.stage == learning && c.learning == nil:
			c.learnNext(ctx)
		case c.stage == reading:
			c.readNext(ctx)
		case c.stage == leasing && !c.waits():
			c.finish(ctx)
			return
		}
		if c.stage == before {
			return
		}
		if c.stage == leasing {
			c.addLeases(ctx)
		}
	}
}

// sortCopies puts what came in any order into the file's.
func (c *check) sortCopies() {
	rank := map[grid.ServerID]int{}
	for i, id := range c.order {
		rank[id] = i
	}
	slices.SortFunc(c.copies, func(a, b *checkedCopy) int {
		if a.server != b.server {
			return rank[a.server] - rank[b.server]
		}
		return int(a.num) - int(b.num)
	})
}

// addLeases asks for leases on all good shares, where the node is logged in.
func (c *check) addLeases(ctx actor.Context) {
	if !c.check.AddLease {
		return
	}
	for _, s := range c.copies {
		if s.state == claimed || s.state == proved {
			p := c.servers[s.server]
			p.wanted = append(p.wanted, s.num)
		}
	}
	for _, id := range c.order {
		if nums := c.servers[id].wanted; len(nums) > 0 {
			c.call(ctx, id, holdTag{id}, &wire.AddLease{StorageIndex: c.check.Cap.StorageIndex, Nums: nums, UEBHash: c.check.Cap.UEBHash})
		}
	}
}

func (c *check) held(id grid.ServerID, m Reply) {
	l, ok := m.Frame.Message.(*wire.Leased)
	if !ok {
		c.servers[id].lease = unexpected(m)
		return
	}
	c.servers[id].leased = *l
}

// kept answers once the leases are in the journal.
func (c *check) kept(ctx actor.Context, m leasesKept) {
	if m.err != nil {
		c.end(ctx, fmt.Errorf("leases were made but could not be written into the journal, so they will not be renewed: %w", m.err))
		return
	}
	c.finish(ctx)
}

// finish answers, once new leases stand in the journal.
func (c *check) finish(ctx actor.Context) {
	report := c.report()
	f, leases := c.journalEntry()
	if journal := c.journal; journal != nil && len(leases) > 0 && c.stage == leasing {
		c.stage = noting
		c.env.Exec.Do(env.Disk, ctx.Self(), func() any { return leasesKept{journal.Add(f, leases)} })
		return
	}
	c.log.Info("file checked", "storage-index", c.check.Cap.StorageIndex.String(), "summary", report.Summary(), "corrupt", len(report.Corrupt))
	c.end(ctx, report)
}

// journalEntry is the file and the leases that were made, where it is known
// which.
func (c *check) journalEntry() (lease.JournalFile, []lease.PlacedLease) {
	v, now := c.check.Cap, c.env.Clock.Now().Unix()
	f := lease.JournalFile{StorageIndex: v.StorageIndex, VerifyCap: v.String(), Size: v.Size, Stored: now}
	var leases []lease.PlacedLease
	for _, id := range c.order {
		p := c.servers[id]
		if int(p.leased.Count) < len(p.wanted) {
			continue
		}
		for _, num := range p.wanted {
			l := lease.JournalLease{Share: lease.ShareID{StorageIndex: v.StorageIndex, Num: num}, Label: p.label, Renewed: now, Expires: p.leased.Expires}
			leases = append(leases, lease.PlacedLease{Server: id, JournalLease: l})
		}
	}
	return f, leases
}

// end gives the only answer.
func (c *check) end(ctx actor.Context, answer any) {
	if !c.answered {
		c.answered = true
		ctx.Send(c.check.ReplyTo, answer)
	}
	ctx.Stop(ctx.Self())
}

// report puts together what is known.
func (c *check) report() Checked {
	out := Checked{
		Report: health.Report{
			StorageIndex: c.check.Cap.StorageIndex, Needed: c.check.Cap.Needed, Total: c.check.Cap.Total, Happy: c.check.Happy,
			Verified: c.check.Verify,
		},
		Names: map[grid.ServerID]string{}, rooms: map[grid.ServerID]uint64{},
	}
	for _, id := range c.order {
		p := c.servers[id]
		out.Names[id], out.rooms[id] = p.name, p.room
		if p.err != nil {
			out.Silent = append(out.Silent, health.Silence{Server: id, Err: p.err})
		} else {
			out.Responding = append(out.Responding, id)
		}
		if out.Leased += int(p.leased.Count); p.lease != nil {
			out.Unleased = append(out.Unleased, LeftOut{id, p.name, p.lease})
		}
	}
	for _, l := range c.left {
		out.Names[l.Server] = l.Name
		out.Silent = append(out.Silent, health.Silence{Server: l.Server, Err: l.Err})
	}
	for _, s := range c.copies {
		s.addTo(&out.Report)
	}
	if c.reader != nil {
		if l, proven := c.reader.Layout(); proven {
			out.proven = &provenLayout{l, c.reader.UEB()}
		}
	}
	return out
}

func (s *checkedCopy) addTo(r *health.Report) {
	at := health.Copy{Server: s.server, Num: s.num}
	switch s.state {
	case corrupt:
		r.Corrupt = append(r.Corrupt, health.Fault{Copy: at, Err: s.err})
	case unread:
		r.Unread = append(r.Unread, health.Fault{Copy: at, Err: s.err})
	default:
		r.Good = append(r.Good, at)
	}
}

// errLostWithin is why a server counts as silent whose answers never came: its
// actor failed over the question.
var errLostWithin = errors.New("the question was lost inside this node")

// tick gives up servers of which nothing comes any more.
func (c *check) tick(ctx actor.Context) {
	if c.answered {
		return
	}
	now := c.env.Clock.Now()
	if c.stage == finding && now.Sub(c.asked) > 2*settleTime+patientTime {
		c.askBroker(ctx) // it failed and forgot us
	}
	for _, id := range c.order {
		if p := c.servers[id]; p.waits > 0 && now.Sub(p.since) > lostTime {
			c.giveUp(id)
		}
	}
	c.goOn(ctx)
	c.env.Clock.After(tickInterval, ctx.Self(), tick{})
}

// giveUp waits for nothing of a server any more.
func (c *check) giveUp(id grid.ServerID) {
	p := c.servers[id]
	p.waits = 0
	switch c.stage {
	case asking:
		p.err = errLostWithin
	case leasing:
		p.lease = errLostWithin
	}
	for _, s := range c.copies {
		if s.server == id && s.fetching {
			s.fetching = false
			s.lose(errLostWithin)
		}
	}
	if c.learning != nil && c.learning.server == id {
		c.learning.lose(errLostWithin)
		c.learning = nil
	}
}
