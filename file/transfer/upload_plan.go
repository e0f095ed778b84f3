package transfer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

// advance moves on when nothing is waited for any more.
func (u *Upload) advance() []UploadEffect {
	switch {
	case u.phase == asking && !u.unanswered():
		return u.plan()
	case u.phase == offering && !u.waits(offered):
		return u.offersAnswered()
	case u.phase == draining && !u.waits(offered, coming, lost):
		return u.check()
	}
	return nil
}

func (u *Upload) unanswered() bool {
	for _, s := range u.servers {
		if s.asked && !s.answered && s.err == nil {
			return true
		}
	}
	return false
}

// askMore asks the next servers in order: twice as many as there are shares.
func (u *Upload) askMore() []UploadEffect {
	var out []UploadEffect
	for _, id := range u.spec.Order {
		if s := u.servers[id]; !s.asked && len(out) < 2*u.spec.Total {
			s.asked = true
			out = append(out, Ask{id})
		}
	}
	return out
}

// plan chooses a place for every share that has none, asking more servers
// while those asked are not enough.
func (u *Upload) plan() []UploadEffect {
	u.failed, u.round = false, time.Time{}
	plan, err := u.cleanPlan()
	if err != nil {
		if more := u.askMore(); len(more) > 0 {
			u.phase = asking
			return more
		}
		if u.spec.Repair == nil || u.spec.Happy == 0 {
			return u.fail(err)
		}
		u.spec.Happy = 0
		return u.plan() // as far as it goes
	}
	effects := u.offers(plan)
	u.phase = offering
	return u.then(effects)
}

// cleanPlan gives a server that holds another content where a share was to go
// nothing.
func (u *Upload) cleanPlan() (placement.Plan, error) {
	for {
		plan, err := placement.NewPlan(u.planInput())
		if err != nil || !u.excludeOthers(plan) {
			return plan, err
		}
	}
}

func (u *Upload) excludeOthers(plan placement.Plan) (found bool) {
	for _, a := range plan.Assignments {
		if u.servers[a.Server] == nil {
			continue
		}
		ueb, held := u.servers[a.Server].held[a.Share]
		if held && u.ueb != nil && ueb != *u.ueb && u.slots[slot{a.Share, a.Server}] == nil {
			u.exclude(a.Server, ErrOtherFile)
			found = true
		}
	}
	return found
}

// offersAnswered finds other places for what was refused, then lets the
// encoder run if somebody waits for bytes or our own hash is not known.
func (u *Upload) offersAnswered() []UploadEffect {
	if u.failed {
		return u.plan()
	}
	if u.ueb == nil || !u.spec.Whole && u.waits(coming, lost) {
		u.phase = encoding
		u.beginPatience()
		if u.spec.Whole {
			return nil
		}
		return []UploadEffect{Encode{}}
	}
	u.phase = draining
	return u.advance()
}

// check compares what servers say they hold with what was encoded, and plans
// again for shares that got lost on the way.
func (u *Upload) check() []UploadEffect {
	var effects []UploadEffect
	for _, at := range u.slotsIn(stored) {
		if u.slots[at].ueb != *u.ueb {
			effects = append(effects, u.drop(at, ErrOtherFile)...)
		}
	}
	if u.failed {
		return append(effects, u.plan()...)
	}
	return u.finish()
}

// planInput is what is known of every server that may count.
func (u *Upload) planInput() placement.Input {
	in := placement.Input{Total: u.spec.Total, Happy: u.spec.Happy}
	for _, id := range u.spec.Order {
		s, here := u.servers[id], u.sharesAt(id)
		takes := s.answered && s.err == nil && s.room >= u.spec.ShareSize
		if s.answered || len(here) > 0 {
			in.Servers = append(in.Servers, placement.Server{ID: id, ReadOnly: !takes, Shares: here, Never: s.bad})
		}
	}
	in.Servers = append(in.Servers, u.readFrom()...)
	slices.SortStableFunc(in.Servers, func(a, b placement.Server) int { return min(len(a.Never), 1) - min(len(b.Never), 1) })
	return in
}

// readFrom is the servers whose shares count without being asked for anything.
func (u *Upload) readFrom() []placement.Server {
	if u.spec.Repair == nil {
		return nil
	}
	kept := slices.Clone(u.spec.Repair.Kept)
	for i := range kept {
		kept[i].ReadOnly = true
	}
	return kept
}

// happyWithout reports whether a plan could be happy without some servers.
func (u *Upload) happyWithout(ids ...grid.ServerID) bool {
	in := u.planInput()
	in.Servers = slices.DeleteFunc(in.Servers, func(s placement.Server) bool { return slices.Contains(ids, s.ID) })
	_, err := placement.NewPlan(in)
	return err == nil
}

// goOnWithout leaves out the servers that have not answered for a while, if it
// can do without them. With a file that is sent along nobody waits, and on a
// slow link the answers take their time.
func (u *Upload) goOnWithout() []UploadEffect {
	if u.spec.Whole || u.phase != asking && u.phase != offering {
		return nil
	}
	if u.round.IsZero() {
		u.round = u.now
	}
	silent := u.silent()
	if len(silent) == 0 || u.now.Sub(u.round) < u.spec.AnswerPatience || !u.happyWithout(silent...) {
		return nil
	}
	var effects []UploadEffect
	for _, id := range silent {
		u.exclude(id, ErrSilent)
		for _, at := range u.slotsIn(offered) {
			if at.server == id {
				effects = append(effects, u.drop(at, ErrSilent)...)
			}
		}
	}
	return effects
}

// silent is who was asked or offered something, and has not answered that.
func (u *Upload) silent() []grid.ServerID {
	var all []grid.ServerID
	for _, id := range u.spec.Order {
		if s := u.servers[id]; s.err == nil && (s.asked && !s.answered || u.offeredTo(id)) {
			all = append(all, id)
		}
	}
	return all
}

func (u *Upload) offeredTo(id grid.ServerID) bool {
	for at, st := range u.slots {
		if at.server == id && st.phase == offered {
			return true
		}
	}
	return false
}

// sharesAt is what a server holds or is getting, as far as it counts.
func (u *Upload) sharesAt(id grid.ServerID) []grid.ShareNum {
	set := map[grid.ShareNum]bool{}
	for at := range u.slots {
		if at.server == id {
			set[at.num] = true
		}
	}
	s := u.servers[id]
	for n, hash := range s.held {
		if s.err == nil && int(n) < u.spec.Total && (u.ueb == nil || *u.ueb == hash) {
			set[n] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// offers turns a plan into effects for what is not under way yet.
func (u *Upload) offers(plan placement.Plan) []UploadEffect {
	var out []UploadEffect
	for _, a := range plan.Assignments {
		at := slot{a.Share, a.Server}
		if u.slots[at] != nil || u.servers[a.Server] == nil {
			continue
		}
		ueb, held := u.servers[a.Server].held[a.Share]
		if held {
			u.slots[at] = &slotState{phase: here, found: true, ueb: ueb}
			out = append(out, u.lease(at)...)
			continue
		}
		u.slots[at] = &slotState{phase: offered}
		out = append(out, Offer{a.Server, a.Share})
	}
	return out
}

func (u *Upload) finish() []UploadEffect {
	f := Finished{Placement: map[grid.ShareNum][]grid.ServerID{}}
	var edges []placement.Edge
	for _, at := range u.slotsIn(stored) {
		f.Placement[at.num] = append(f.Placement[at.num], at.server)
		edges = append(edges, placement.Edge{Server: at.server, Share: at.num})
		if u.slots[at].found {
			f.Found++
		} else {
			f.Pushed++
		}
	}
	for _, s := range u.readFrom() {
		for _, n := range s.Shares {
			edges = append(edges, placement.Edge{Server: s.ID, Share: n})
		}
	}
	if u.spec.Repair != nil {
		f.Reasons = u.reasons()
	}
	if f.Happiness = placement.Happiness(edges); f.Happiness < u.spec.Happy {
		return u.fail(&placement.TooFewServers{Happy: u.spec.Happy, Happiness: f.Happiness, Total: u.spec.Total, Holding: f.Happiness})
	}
	u.phase = ended
	return []UploadEffect{f}
}

// fail withdraws what is on its way and says why.
func (u *Upload) fail(err error) []UploadEffect {
	return append(u.Cancel(), Failed{Err: err, Reasons: u.reasons()})
}

// reasons is why servers got nothing, or nothing more.
func (u *Upload) reasons() map[grid.ServerID]error {
	reasons := map[grid.ServerID]error{}
	for id, s := range u.servers {
		switch {
		case s.err != nil:
			reasons[id] = s.err
		case s.answered && s.room < u.spec.ShareSize:
			reasons[id] = fmt.Errorf("%w: room for a share of %d bytes, and each has %d", ErrNoRoom, s.room, u.spec.ShareSize)
		}
	}
	return reasons
}
