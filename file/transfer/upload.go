package transfer

import (
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Upload decides where the shares of one file go. It asks servers what they
// hold, plans, offers, lets the encoder run once over the file for all shares
// that servers then pull, and plans again for those that failed, until enough
// distinct servers hold distinct shares or nobody is left to ask.
//
// It offers nothing before the plan reaches the happiness asked for. Whoever
// fails once gets nothing more in this upload, so it ends.
type Upload struct {
	spec    UploadSpec
	servers map[grid.ServerID]*uploadServer
	slots   map[slot]*slotState
	phase   uploadPhase
	ueb     *[32]byte // our own, once the encoder has told it
	failed  bool      // a slot was dropped since the last plan
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
	// LinkPatience is how long a pull waits for a lost connection to come
	// back, PullPatience how long for a server that asks for nothing.
	LinkPatience, PullPatience time.Duration
}

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
	coming                   // the server pulls it
	lost                     // it was on its way when the connection broke
	stored                   // the server says that it is there and leased
)

type slotState struct {
	phase    slotPhase
	found    bool      // it was there before
	ueb      [32]byte  // as the server says, when stored
	deadline time.Time // for coming while draining, and for lost
}

type uploadServer struct {
	asked, answered bool
	room            uint64
	held            map[grid.ShareNum][32]byte
	err             error // why it gets nothing more
}

// NewUpload validates nothing: spec comes from validated parameters.
func NewUpload(spec UploadSpec) *Upload {
	u := &Upload{spec: spec, servers: map[grid.ServerID]*uploadServer{}, slots: map[slot]*slotState{}}
	for _, id := range spec.Order {
		u.servers[id] = &uploadServer{}
	}
	return u
}

// Start returns the first effects.
func (u *Upload) Start() []UploadEffect {
	if effects := u.askMore(); len(effects) > 0 {
		return effects
	}
	return u.plan()
}

// Step takes one event and returns what to do, in order.
func (u *Upload) Step(now time.Time, ev UploadEvent) []UploadEffect {
	if u.phase == ended {
		return nil
	}
	switch e := ev.(type) {
	case Holds:
		u.holds(e)
	case NoAnswer:
		u.exclude(e.Server, e.Err)
	case Taken:
		u.taken(now, e)
	case Refused:
		return u.then(u.refused(now, e))
	case Moving:
		u.moving(now, e)
	case Kept:
		return u.then(u.kept(e))
	case LinkDown:
		return u.then(u.linkDown(now, e))
	case LinkUp:
		return u.then(u.linkUp(e))
	case Encoded:
		u.encoded(now, e)
	case Tick:
		return u.then(u.tick(now))
	default:
		panic(fmt.Sprintf("transfer: unknown upload event %T", ev))
	}
	return u.advance()
}

func (u *Upload) then(first []UploadEffect) []UploadEffect {
	return append(first, u.advance()...)
}

func (u *Upload) holds(e Holds) {
	if s := u.servers[e.Server]; s != nil && s.asked && !s.answered {
		s.answered, s.room, s.held = true, e.Room, e.Shares
	}
}

// exclude makes a server get nothing more in this upload.
func (u *Upload) exclude(id grid.ServerID, err error) {
	if s := u.servers[id]; s != nil && s.err == nil {
		s.err = err
	}
}

func (u *Upload) taken(now time.Time, e Taken) {
	st := u.slots[slot{e.Num, e.Server}]
	switch {
	case st == nil || st.phase == stored:
	case e.Stored:
		st.phase, st.ueb, st.found = stored, e.UEBHash, st.found || e.AlreadyHere
	default:
		st.phase, st.deadline = coming, now.Add(u.spec.PullPatience)
	}
}

func (u *Upload) refused(now time.Time, e Refused) []UploadEffect {
	at := slot{e.Num, e.Server}
	st := u.slots[at]
	if st == nil || st.phase != offered {
		return nil
	}
	if e.LinkLost && u.phase != offering {
		st.phase, st.deadline = lost, now.Add(u.spec.LinkPatience)
		return nil
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

func (u *Upload) moving(now time.Time, e Moving) {
	if st := u.slots[slot{e.Num, e.Server}]; st != nil && st.phase == coming {
		st.deadline = now.Add(u.spec.PullPatience)
	}
}

func (u *Upload) kept(e Kept) []UploadEffect {
	at := slot{e.Num, e.Server}
	st := u.slots[at]
	if st == nil || st.phase == stored {
		return nil
	}
	if e.Err != nil {
		return u.drop(at, e.Err)
	}
	st.phase, st.ueb = stored, e.UEBHash
	return nil
}

// linkDown lets pulls wait for the connection once bytes have moved; before
// that another server is as good.
func (u *Upload) linkDown(now time.Time, e LinkDown) []UploadEffect {
	var effects []UploadEffect
	for _, at := range u.slotsIn(coming) {
		switch {
		case at.server != e.Server:
		case u.phase == offering:
			effects = append(effects, u.drop(at, ErrLinkLost)...)
		default:
			u.slots[at].phase, u.slots[at].deadline = lost, now.Add(u.spec.LinkPatience)
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

func (u *Upload) encoded(now time.Time, e Encoded) {
	u.ueb = &e.UEBHash
	for _, at := range u.slotsIn(coming) {
		u.slots[at].deadline = now.Add(u.spec.PullPatience)
	}
	if u.phase == encoding {
		u.phase = draining
	}
}

// tick gives up what waited too long.
func (u *Upload) tick(now time.Time) []UploadEffect {
	var effects []UploadEffect
	for _, at := range u.slotsIn(lost) {
		if now.After(u.slots[at].deadline) {
			effects = append(effects, u.drop(at, ErrLinkLost)...)
		}
	}
	if u.phase != draining {
		return effects
	}
	for _, at := range u.slotsIn(coming) {
		if now.After(u.slots[at].deadline) {
			effects = append(effects, u.drop(at, ErrStalled)...)
		}
	}
	return effects
}

// slotsIn is the slots in a phase, by share number and then server order.
func (u *Upload) slotsIn(phase slotPhase) []slot {
	var out []slot
	for n := range u.spec.Total {
		for _, id := range u.spec.Order {
			at := slot{grid.ShareNum(n), id}
			if st := u.slots[at]; st != nil && st.phase == phase {
				out = append(out, at)
			}
		}
	}
	return out
}

// Coming reports whether a server is pulling this share, or may go on with it
// when its connection is back.
func (u *Upload) Coming(o Offer) bool {
	st := u.slots[slot{o.Num, o.Server}]
	return st != nil && st.phase != stored
}
