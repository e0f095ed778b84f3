package transfer

import (
	"math"

	"github.com/tarn-grid/tarn/grid"
)

// Spare is up to n servers to which a share may be passed on without two shares
// coming together at one of them: they answered, have room, hold nothing of the
// file and get nothing of it. Shares of different numbers find different ones
// first.
func (u *Upload) Spare(num grid.ShareNum, n int) []grid.ServerID {
	var all []grid.ServerID
	for _, id := range u.spec.Order {
		if u.spare(id) {
			all = append(all, id)
		}
	}
	if len(all) == 0 {
		return nil
	}
	from := int(num) * n % len(all)
	return append(all[from:len(all):len(all)], all[:from]...)[:min(n, len(all))]
}

func (u *Upload) spare(id grid.ServerID) bool {
	s := u.servers[id]
	if s == nil || s.err != nil || !s.answered || s.room < u.spec.ShareSize || len(s.held) > 0 {
		return false
	}
	for at := range u.slots {
		if at.server == id {
			return false
		}
	}
	return true
}

// passedOn moves a share to the server that is said to have it now; the one
// that passed it on gets nothing more. Where the other one has got a share of
// the file meanwhile, the first is offered its own again.
func (u *Upload) passedOn(e PassedOn) []UploadEffect {
	at, to := slot{e.Num, e.Server}, slot{e.Num, e.To}
	st := u.slots[at]
	switch {
	case st == nil || st.phase != offered:
		return u.takeBack(to)
	case st.tried:
		return append(u.drop(at, ErrPassedOn), u.takeBack(to)...)
	case !u.spare(e.To):
		return append(u.takeBack(to), Offer{e.Server, e.Num})
	}
	delete(u.slots, at)
	u.exclude(e.Server, ErrPassedOn)
	u.servers[e.To].room = math.MaxUint64 // it took one without being asked by us
	u.slots[to] = &slotState{phase: coming, deadline: u.now.Add(u.spec.PullPatience)}
	return []UploadEffect{Withdraw{e.Server, e.Num}}
}

// takeBack withdraws what was passed on to a server that is not to have it.
func (u *Upload) takeBack(at slot) []UploadEffect {
	if u.servers[at.server] == nil || u.slots[at] != nil {
		return nil
	}
	return []UploadEffect{Withdraw{at.server, at.num}}
}
