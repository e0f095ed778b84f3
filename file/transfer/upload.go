package transfer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

// Upload decides where the shares of one file go. It asks servers what they
// hold, plans, offers, lets the encoder run once over the file for all shares
// that servers then pull, and plans again for those that failed, until enough
// distinct servers hold distinct shares or nobody is left to ask.
//
// It offers nothing before the plan reaches the happiness asked for, but for a
// file that is encoded whole: there the question and the first offer are one,
// so that storing a new file costs one round trip. Whoever fails once gets
// nothing more in this upload, so it ends.
type Upload struct {
	spec    UploadSpec
	servers map[grid.ServerID]*uploadServer
	slots   map[slot]*slotState
	phase   uploadPhase
	now     time.Time // of the last event
	ueb     *[32]byte // our own, once the encoder has told it
	failed  bool      // a slot was dropped since the last plan
	round   time.Time // when the questions or offers that are unanswered were first seen so
}

// UploadSpec is what an upload is born with.
type UploadSpec struct {
	ShareSize    uint64 // of every share body, bytes
	Happy, Total int
	// Order is the servers that may be used, by preference.
	Order []grid.ServerID
	// Whole says that the encoded file is small enough to be kept, so that no
	// Encode is asked for and Encoded comes by itself.
	Whole bool
	// Known is the UEB hash of the file where it is known before it is encoded,
	// as its shares most likely are there: servers are asked before anything is
	// offered, and nothing is encoded if nothing is missing.
	Known *[32]byte
	// AnswerPatience is how long answers are waited for without which a plan is
	// happy: whoever has taken a share to pull waits for its bytes meanwhile.
	AnswerPatience time.Duration
	// Repair is of a file of which some shares are there; nil for a file that is
	// stored. Known is set then, and Whole is not.
	Repair *Repair
	// LinkPatience is how long a pull waits for a lost connection to come
	// back.
	LinkPatience time.Duration
	// PullPatience is how long a server may take for PullFloor bytes, or for
	// what is left of the share, while nothing is owed to it.
	PullPatience time.Duration
	PullFloor    uint64
}

// Repair says what a check found of a file that is to be repaired: as many shares
// as can be are brought to as many distinct servers as can be. A plan that is
// not happy is better than none, so it never fails for want of servers.
type Repair struct {
	// At is what servers in the upload's order said. They are not asked again.
	At map[grid.ServerID]Surveyed
	// Kept are the other servers that have good shares: those count, and nothing is
	// asked of them.
	Kept []placement.Server
}

// Surveyed is what a check found at a server.
type Surveyed struct {
	// Good shares are those of the file, which count. Under the numbers of Bad ones
	// the server has something else: it can't be given those, and is given others
	// last of all.
	Good, Bad []grid.ShareNum
	// Room is the largest share that the server would take, in bytes.
	Room uint64
}

// maxLosses is how often a connection may be lost without progress in between,
// so that one that comes and goes can't hold an upload up for ever.
const maxLosses = 3

// uploadPhase is what an upload waits for.
type uploadPhase uint8

const (
	asking   uploadPhase = iota // answers to Ask
	offering                    // answers to Offer and Lease
	encoding                    // the end of a pass over the file
	draining                    // the ends of the pulls
	ended
)

// slot is one share at one server.
type slot struct {
	num    grid.ShareNum
	server grid.ServerID
}

type slotPhase uint8

const (
	offered slotPhase = iota // an Offer or a Lease is unanswered
	here                     // it was there; whether it is this file's is not known yet
	coming                   // the server pulls it
	lost                     // it was on its way when the connection broke
	stored                   // the server says that it is there and leased
)

type slotState struct {
	phase    slotPhase
	tried    bool      // with the question what the server holds
	found    bool      // it was there before
	ueb      [32]byte  // as the server says, when here or stored
	deadline time.Time // for lost and, while shares are served, for coming
	have     uint64    // bytes that the server held when progress last counted
	losses   int       // of the connection, since then
}

type uploadServer struct {
	rank            int // in the order of preference
	asked, answered bool
	room            uint64
	held            map[grid.ShareNum][32]byte
	bad             []grid.ShareNum // it can't be given these
	err             error           // why it gets nothing more
}

// NewUpload validates nothing: spec comes from validated parameters.
func NewUpload(spec UploadSpec) *Upload {
	u := &Upload{spec: spec, servers: map[grid.ServerID]*uploadServer{}, slots: map[slot]*slotState{}, ueb: spec.Known}
	for i, id := range spec.Order {
		u.servers[id] = &uploadServer{rank: i}
	}
	if spec.Repair != nil {
		u.survey(spec.Repair.At)
	}
	return u
}

// survey takes what a check found for the answers of servers.
func (u *Upload) survey(at map[grid.ServerID]Surveyed) {
	for id, found := range at {
		s := u.servers[id]
		if s == nil {
			continue
		}
		s.asked, s.answered, s.room, s.bad, s.held = true, true, found.Room, found.Bad, map[grid.ShareNum][32]byte{}
		for _, n := range found.Good {
			s.held[n] = *u.ueb
		}
	}
}

// Start returns the first effects.
func (u *Upload) Start() []UploadEffect {
	if effects := append(u.tryAll(), u.askMore()...); len(effects) > 0 {
		return effects
	}
	return u.plan()
}

// tryAll tries each share of a small file at another server, if there are
// enough of them.
func (u *Upload) tryAll() []UploadEffect {
	if !u.spec.Whole || u.spec.Known != nil || len(u.spec.Order) < u.spec.Happy {
		return nil
	}
	var out []UploadEffect
	for i, id := range u.spec.Order[:min(u.spec.Total, len(u.spec.Order))] {
		num := grid.ShareNum(i)
		u.servers[id].asked = true
		u.slots[slot{num, id}] = &slotState{phase: offered, tried: true}
		out = append(out, Try{id, num})
	}
	return out
}

// Step takes one event and returns what to do, in order.
func (u *Upload) Step(now time.Time, ev UploadEvent) []UploadEffect {
	if u.phase == ended {
		return nil
	}
	u.now = now
	return u.then(u.take(ev))
}

// take notes an event; what it leads to as a whole is for advance.
func (u *Upload) take(ev UploadEvent) []UploadEffect {
	switch e := ev.(type) {
	case Holds:
		u.holds(e)
	case NoAnswer:
		u.exclude(e.Server, e.Err)
	case Taken:
		u.taken(e)
	case Here:
		return u.here(e)
	case Leased:
		u.leased(e)
	case Refused:
		return u.refused(e)
	case PassedOn:
		return u.passedOn(e)
	case Moving:
		u.moving(e)
	case Owed:
		u.owed(e)
	case Kept:
		return u.kept(e)
	case LinkDown:
		return u.linkDown(e)
	case LinkUp:
		return u.linkUp(e)
	case Encoded:
		return u.encoded(e)
	case Tick:
		return u.tick()
	default:
		panic(fmt.Sprintf("transfer: unknown upload event %T", ev))
	}
	return nil
}

func (u *Upload) then(first []UploadEffect) []UploadEffect {
	return append(first, u.advance()...)
}

func (u *Upload) holds(e Holds) {
	s := u.servers[e.Server]
	if s == nil || !s.asked || s.answered {
		return
	}
	s.answered, s.room, s.held = true, e.Room, e.Shares
	for at, st := range u.slots {
		if at.server == e.Server && st.tried && st.phase == offered {
			delete(u.slots, at)
		}
	}
}

// tried notes that a server took what was tried: it held nothing before, and
// how much more it would take shows when it is asked to.
func (u *Upload) tried(id grid.ServerID) {
	if s := u.servers[id]; !s.answered {
		s.answered, s.room = true, math.MaxUint64
	}
}

// exclude makes a server get nothing more in this upload.
func (u *Upload) exclude(id grid.ServerID, err error) {
	if s := u.servers[id]; s != nil && s.err == nil {
		s.err = err
	}
}

func (u *Upload) taken(e Taken) {
	st := u.slots[slot{e.Num, e.Server}]
	switch {
	case st == nil || st.phase == stored || st.phase == here:
	case e.Stored:
		u.tried(e.Server)
		st.phase, st.found, st.ueb = stored, false, e.UEBHash
	default:
		st.phase, st.found, st.deadline = coming, false, u.now.Add(u.spec.PullPatience)
	}
}

// here notes a share that was there before it was offered.
func (u *Upload) here(e Here) []UploadEffect {
	at := slot{e.Num, e.Server}
	st := u.slots[at]
	if st == nil || st.phase != offered {
		return nil
	}
	u.tried(e.Server)
	st.phase, st.tried, st.found, st.ueb = here, false, true, e.UEBHash
	return u.lease(at)
}

// lease asks for a lease on a share that was there, once it is known to be this
// file's. On another content, which somebody stored first, none is made: nobody
// pays for that.
func (u *Upload) lease(at slot) []UploadEffect {
	st := u.slots[at]
	switch {
	case u.ueb == nil:
		return nil
	case st.ueb != *u.ueb:
		return u.drop(at, ErrOtherFile)
	}
	st.phase = offered
	return []UploadEffect{Lease{at.server, at.num}}
}

func (u *Upload) leased(e Leased) {
	if st := u.slots[slot{e.Num, e.Server}]; st != nil && st.phase == offered && st.found {
		st.phase = stored
	}
}

func (u *Upload) refused(e Refused) []UploadEffect {
	at := slot{e.Num, e.Server}
	st := u.slots[at]
	switch {
	case st == nil || st.phase != offered:
		return nil
	case e.LinkLost:
		return u.lose(at)
	}
	return u.drop(at, e.Err)
}

// drop gives a slot up, and its server for anything new.
func (u *Upload) drop(at slot, err error) []UploadEffect {
	delete(u.slots, at)
	u.failed = true
	u.exclude(at.server, err)
	return []UploadEffect{Withdraw{at.server, at.num}}
}

// lose lets a pull wait for the connection once bytes may have moved; before
// that another server is as good, if there is one, and nobody waits for one
// that was only tried.
func (u *Upload) lose(at slot) []UploadEffect {
	st := u.slots[at]
	if st.losses++; st.tried || u.phase == offering && u.happyWithout(at.server) || st.losses > maxLosses {
		return u.drop(at, ErrLinkLost)
	}
	st.phase, st.deadline = lost, u.now.Add(u.spec.LinkPatience)
	return nil
}

// moving notes progress. What is less than the floor does not count, so that
// a server can't keep an upload for ever by taking a byte at a time.
func (u *Upload) moving(e Moving) {
	st := u.slots[slot{e.Num, e.Server}]
	if st == nil || st.phase != coming || e.Have < st.have+u.spec.PullFloor {
		return
	}
	st.have, st.losses, st.deadline = e.Have, 0, u.now.Add(u.spec.PullPatience)
}

func (u *Upload) owed(e Owed) {
	if st := u.slots[slot{e.Num, e.Server}]; st != nil && st.phase == coming {
		st.deadline = u.now.Add(u.spec.PullPatience)
	}
}

func (u *Upload) kept(e Kept) []UploadEffect {
	at := slot{e.Num, e.Server}
	st := u.slots[at]
	if st == nil || st.phase == stored || st.phase == here {
		return nil
	}
	if e.Err != nil {
		return u.drop(at, e.Err)
	}
	st.phase, st.ueb = stored, e.UEBHash
	return nil
}

// linkDown loses all that is on its way to a server. Offers count, too: those
// that the connection's end does not answer were lost by a failure.
func (u *Upload) linkDown(e LinkDown) []UploadEffect {
	if s := u.servers[e.Server]; s != nil && s.asked && !s.answered {
		u.exclude(e.Server, ErrLinkLost)
	}
	var effects []UploadEffect
	for _, at := range u.slotsIn(offered, coming) {
		if at.server == e.Server {
			effects = append(effects, u.lose(at)...)
		}
	}
	return effects
}

// linkUp offers again what was on its way when the connection broke; the
// server goes on where it was.
func (u *Upload) linkUp(e LinkUp) []UploadEffect {
	var effects []UploadEffect
	for _, at := range u.slotsIn(lost) {
		if at.server == e.Server {
			u.slots[at].phase = offered
			effects = append(effects, Offer{at.server, at.num})
		}
	}
	return effects
}

func (u *Upload) encoded(e Encoded) []UploadEffect {
	u.ueb = &e.UEBHash
	if u.phase == encoding {
		u.phase = draining
		u.beginPatience()
	}
	var effects []UploadEffect
	for _, at := range u.slotsIn(here) {
		effects = append(effects, u.lease(at)...)
	}
	return effects
}

// beginPatience gives every pull the full time from now on.
func (u *Upload) beginPatience() {
	for _, at := range u.slotsIn(coming) {
		u.slots[at].deadline = u.now.Add(u.spec.PullPatience)
	}
}

// tick gives up what waited too long.
func (u *Upload) tick() []UploadEffect {
	effects := append(u.dropLate(lost, ErrLinkLost), u.goOnWithout()...)
	if u.phase == encoding || u.phase == draining {
		effects = append(effects, u.dropLate(coming, ErrStalled)...)
	}
	return effects
}

func (u *Upload) dropLate(phase slotPhase, err error) []UploadEffect {
	var effects []UploadEffect
	for _, at := range u.slotsIn(phase) {
		if u.now.After(u.slots[at].deadline) {
			effects = append(effects, u.drop(at, err)...)
		}
	}
	return effects
}

// slotsIn is the slots in these phases, by share number and then server order.
func (u *Upload) slotsIn(phases ...slotPhase) []slot {
	var out []slot
	for at, st := range u.slots {
		if slices.Contains(phases, st.phase) {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.num, b.num), cmp.Compare(u.servers[a.server].rank, u.servers[b.server].rank))
	})
	return out
}

// waits reports whether any slot is in one of these phases.
func (u *Upload) waits(phases ...slotPhase) bool {
	for _, st := range u.slots {
		if slices.Contains(phases, st.phase) {
			return true
		}
	}
	return false
}

// Coming reports whether a server is pulling this share, or may go on with it
// when its connection is back.
func (u *Upload) Coming(o Offer) bool {
	st := u.slots[slot{o.Num, o.Server}]
	return st != nil && !st.found && st.phase != stored
}

// Cancel ends the upload and takes back what is not stored.
func (u *Upload) Cancel() []UploadEffect {
	if u.phase == ended {
		return nil
	}
	u.phase = ended
	var effects []UploadEffect
	for _, at := range u.slotsIn(offered, here, coming, lost) {
		effects = append(effects, Withdraw{at.server, at.num})
	}
	return effects
}
