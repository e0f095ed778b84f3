package transfer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
)

// uploadModel is the dumb rest of the world: it remembers what was asked of
// it and answers as it likes.
type uploadModel struct {
	*rapid.T
	u      *transfer.Upload
	spec   transfer.UploadSpec
	now    time.Time
	events []transfer.UploadEvent
	times  []time.Time
	trace  []string

	asks      []grid.ServerID
	tries     map[transfer.Offer]bool // of the unanswered offers, those that may be answered by Holds
	offers    []transfer.Offer        // unanswered
	pulls     []transfer.Offer        // under way
	cut       []transfer.Offer        // under way, without a connection
	encoding  bool
	encoded   bool
	stored    map[transfer.Offer][32]byte
	withdrawn map[transfer.Offer]bool
	offered   map[transfer.Offer]bool
	said      map[transfer.Offer][32]byte // what servers say they have
	leasing   map[transfer.Offer]bool     // of the offers, those of a lease
	down      map[grid.ServerID]bool
	failed    map[grid.ServerID]bool
	end       transfer.UploadEffect
}

var ours = hash("ours")

func drawUpload(t *rapid.T) *uploadModel {
	n := rapid.IntRange(0, 6).Draw(t, "servers")
	total := rapid.IntRange(1, 6).Draw(t, "total")
	m := &uploadModel{
		T: t, now: start, stored: map[transfer.Offer][32]byte{}, withdrawn: map[transfer.Offer]bool{},
		tries: map[transfer.Offer]bool{}, offered: map[transfer.Offer]bool{}, said: map[transfer.Offer][32]byte{}, leasing: map[transfer.Offer]bool{},
		down: map[grid.ServerID]bool{}, failed: map[grid.ServerID]bool{},
		spec: transfer.UploadSpec{
			ShareSize: 100, Total: total, Happy: rapid.IntRange(1, total).Draw(t, "happy"), Order: serverIDs("abcdef"[:n]),
			Whole: rapid.Bool().Draw(t, "whole"), AnswerPatience: 15 * time.Second, LinkPatience: 30 * time.Second, PullPatience: time.Minute, PullFloor: 50,
		},
	}
	m.u = transfer.NewUpload(m.spec)
	m.encoding = m.spec.Whole
	m.carryOut(m.u.Start())
	return m
}

func remove[T comparable](list *[]T, x T) {
	*list = slices.DeleteFunc(*list, func(y T) bool { return y == x })
}

func (m *uploadModel) step(ev transfer.UploadEvent) {
	m.events, m.times = append(m.events, ev), append(m.times, m.now)
	m.carryOut(m.u.Step(m.now, ev))
}

func (m *uploadModel) carryOut(effects []transfer.UploadEffect) {
	if m.end != nil && len(effects) > 0 {
		m.Fatalf("effects after the end: %v", uploadEffects(effects))
	}
	m.trace = append(m.trace, fmt.Sprint(uploadEffects(effects)))
	news := false
	for _, e := range effects {
		switch e := e.(type) {
		case transfer.Ask:
			m.asks = append(m.asks, e.Server)
		case transfer.Try:
			m.tries[transfer.Offer(e)] = true
			m.offer(transfer.Offer(e)) // before anything is planned
		case transfer.Offer:
			news = m.offer(e) || news
		case transfer.Lease:
			m.lease(transfer.Offer(e))
		case transfer.Withdraw:
			m.withdraw(transfer.Offer(e))
		case transfer.Encode:
			if m.encoding || m.spec.Whole {
				m.Fatal("encodes twice, or what is encoded")
			}
			m.encoding = true
		case transfer.Finished, transfer.Failed:
			m.end = e
		}
	}
	if news {
		m.mustBeHappy("what is offered", slices.Concat(m.offers, m.pulls, m.cut, m.found()), func([32]byte) bool { return true })
	}
	if m.end == nil && len(m.asks)+len(m.offers)+len(m.pulls)+len(m.cut) == 0 && !m.encoding {
		m.Fatal("it waits for nothing and has not ended")
	}
}

// offer reports whether this was not offered before.
func (m *uploadModel) offer(o transfer.Offer) bool {
	again := slices.Contains(m.cut, o)
	if !again && (m.failed[o.Server] || m.offered[o]) {
		m.Fatalf("%v is offered to a server that failed, or a second time", o)
	}
	remove(&m.cut, o)
	m.offers = append(m.offers, o)
	m.offered[o], m.withdrawn[o] = true, false
	delete(m.leasing, o)
	return !again
}

// lease is asked for what a server says it has of this very file, once that is
// known.
func (m *uploadModel) lease(o transfer.Offer) {
	if !m.encoded || m.said[o] != ours {
		m.Fatalf("a lease on %v, which may be another file's", o)
	}
	m.offers = append(m.offers, o)
	m.offered[o], m.leasing[o] = true, true
	delete(m.tries, o)
}

// found is what servers say they have, and what so may have been counted.
func (m *uploadModel) found() (all []transfer.Offer) {
	for o, ueb := range m.said {
		if int(o.Num) < m.spec.Total && (!m.encoded || ueb == ours) {
			all = append(all, o)
		}
	}
	return all
}

func (m *uploadModel) withdraw(o transfer.Offer) {
	m.withdrawn[o] = true
	m.failed[o.Server] = m.failed[o.Server] || m.offered[o] // not for what was only passed on to it
	delete(m.stored, o)
	remove(&m.offers, o)
	remove(&m.pulls, o)
	remove(&m.cut, o)
}

func (m *uploadModel) mustBeHappy(what string, more []transfer.Offer, counts func([32]byte) bool) {
	var edges []placement.Edge
	for o, ueb := range m.stored {
		if counts(ueb) {
			edges = append(edges, placement.Edge{Server: o.Server, Share: o.Num})
		}
	}
	for _, o := range more {
		edges = append(edges, placement.Edge{Server: o.Server, Share: o.Num})
	}
	if h := placement.Happiness(edges); h < m.spec.Happy {
		m.Fatalf("%s has happiness %d, not %d", what, h, m.spec.Happy)
	}
}

// draw picks one of a list, if there is any.
func draw[E any](t *rapid.T, list []E, what string) (one E, ok bool) {
	if len(list) == 0 {
		return one, false
	}
	return rapid.SampledFrom(list).Draw(t, what), true
}

func (m *uploadModel) answerAsk(t *rapid.T) {
	id, ok := draw(t, m.asks, "asked")
	if !ok {
		return
	}
	remove(&m.asks, id)
	if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
		m.failed[id] = true
		m.step(transfer.NoAnswer{Server: id, Err: errScripted})
		return
	}
	m.step(m.drawHolds(t, id, 0))
}

func (m *uploadModel) drawHolds(t *rapid.T, id grid.ServerID, least int) transfer.Holds {
	h := transfer.Holds{Server: id, Room: uint64(rapid.IntRange(90, 200).Draw(t, "room")), Shares: map[grid.ShareNum][32]byte{}}
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 8), least, 3).Draw(t, "holds") {
		ueb := rapid.SampledFrom([][32]byte{ours, hash("other")}).Draw(t, "ueb")
		h.Shares[grid.ShareNum(n)] = ueb
		m.said[transfer.Offer{Server: id, Num: grid.ShareNum(n)}] = ueb
	}
	return h
}

func (m *uploadModel) drawUEB(t *rapid.T) [32]byte {
	if rapid.IntRange(0, 5).Draw(t, "lies") == 0 {
		return hash("other")
	}
	return ours
}

func (m *uploadModel) answerOffer(t *rapid.T) {
	o, ok := draw(t, m.offers, "offer")
	if !ok {
		return
	}
	remove(&m.offers, o)
	if m.tries[o] && rapid.Bool().Draw(t, "holds some") {
		delete(m.tries, o)
		delete(m.offered, o) // so it may be offered yet
		m.step(m.drawHolds(t, o.Server, 1))
		return
	}
	switch answer := rapid.IntRange(0, 5).Draw(t, "answer"); {
	case answer == 0:
		m.step(transfer.Refused{Server: o.Server, Num: o.Num, Err: errScripted})
	case m.leasing[o]:
		m.store(o, ours, func([32]byte) transfer.UploadEvent { return transfer.Leased(o) })
	case answer == 5:
		m.passOn(t, o)
	case answer == 1:
		m.said[o] = m.drawUEB(t)
		m.step(transfer.Here{Server: o.Server, Num: o.Num, UEBHash: m.said[o]})
	case answer == 2:
		m.store(o, m.drawUEB(t), func(h [32]byte) transfer.UploadEvent {
			return transfer.Taken{Server: o.Server, Num: o.Num, Stored: true, UEBHash: h}
		})
	default:
		if m.spec.Whole { // the actor refuses to be asked for what it sent
			m.step(transfer.Refused{Server: o.Server, Num: o.Num, Err: errScripted})
			return
		}
		m.pulls = append(m.pulls, o)
		m.step(transfer.Taken{Server: o.Server, Num: o.Num})
	}
}

// passOn says that another server, any, has the share now. Where that can't be,
// the upload must take it back from both.
func (m *uploadModel) passOn(t *rapid.T, o transfer.Offer) {
	to := transfer.Offer{Server: rapid.SampledFrom(m.spec.Order).Draw(t, "to"), Num: o.Num}
	spares := m.u.Spare(o.Num, len(m.spec.Order))
	m.withdrawn[to] = false
	if !m.tries[o] && slices.Contains(spares, to.Server) {
		if m.failed[to.Server] || m.offered[to] {
			m.Fatalf("%v is said to have nothing of the file", to)
		}
		m.offered[to] = true
		m.pulls = append(m.pulls, to)
		m.step(transfer.PassedOn{Server: o.Server, Num: o.Num, To: to.Server})
		if !m.withdrawn[o] {
			m.Fatalf("%v was passed on to %v, and not taken back", o, to)
		}
		return
	}
	was := m.offered[to]
	if !m.tries[o] {
		m.cut = append(m.cut, o) // it may be offered again
	}
	m.step(transfer.PassedOn{Server: o.Server, Num: o.Num, To: to.Server})
	if !was && !m.withdrawn[to] && !m.offered[to] {
		m.Fatalf("%v was passed on to %v, and not taken back there", o, to)
	}
}

func (m *uploadModel) store(o transfer.Offer, ueb [32]byte, ev func([32]byte) transfer.UploadEvent) {
	remove(&m.pulls, o)
	m.stored[o] = ueb
	m.step(ev(ueb))
}

func (m *uploadModel) keep(t *rapid.T) {
	o, ok := draw(t, m.pulls, "pull")
	if !ok {
		return
	}
	if rapid.IntRange(0, 3).Draw(t, "breaks") == 0 {
		m.step(transfer.Kept{Server: o.Server, Num: o.Num, Err: errScripted})
		return
	}
	m.store(o, m.drawUEB(t), func(h [32]byte) transfer.UploadEvent {
		return transfer.Kept{Server: o.Server, Num: o.Num, UEBHash: h}
	})
}

// linkDown loses all that is unanswered at a server.
func (m *uploadModel) linkDown(t *rapid.T) {
	id, ok := draw(t, m.spec.Order, "server")
	if !ok || m.down[id] {
		return
	}
	m.down[id] = true
	if slices.Contains(m.asks, id) {
		m.failed[id] = true
		remove(&m.asks, id)
	}
	for _, o := range slices.Concat(m.offers, m.pulls) {
		if o.Server == id {
			remove(&m.offers, o)
			remove(&m.pulls, o)
			m.cut = append(m.cut, o)
		}
	}
	m.step(transfer.LinkDown{Server: id})
}

func (m *uploadModel) linkUp(t *rapid.T) {
	id, ok := draw(t, m.spec.Order, "server")
	if !ok || !m.down[id] {
		return
	}
	delete(m.down, id)
	m.step(transfer.LinkUp{Server: id})
}

func (m *uploadModel) finishEncoding(*rapid.T) {
	if m.encoding {
		m.encoding, m.encoded = false, true
		m.step(transfer.Encoded{UEBHash: ours})
	}
}

func (m *uploadModel) pass(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 70).Draw(t, "seconds")) * time.Second)
	m.step(transfer.Tick{})
}

// noise is what nobody asked for.
func (m *uploadModel) noise(t *rapid.T) {
	id, ok := draw(t, m.spec.Order, "server")
	o := transfer.Offer{Server: id, Num: grid.ShareNum(rapid.IntRange(0, 8).Draw(t, "share"))}
	if !ok || m.offered[o] && !m.withdrawn[o] {
		return
	}
	m.step(rapid.SampledFrom([]transfer.UploadEvent{
		transfer.Kept{Server: o.Server, Num: o.Num, UEBHash: ours}, transfer.Taken{Server: o.Server, Num: o.Num},
		transfer.Taken{Server: o.Server, Num: o.Num, Stored: true, UEBHash: ours}, transfer.Refused{Server: o.Server, Num: o.Num, Err: errScripted},
		transfer.Moving{Server: o.Server, Num: o.Num, Have: 99}, transfer.Owed(o), transfer.Leased(o), transfer.Here{Server: o.Server, Num: o.Num, UEBHash: ours},
	}).Draw(t, "noise"))
}

// check holds what must be true of the end.
func (m *uploadModel) check() {
	for o := range m.offered {
		if _, ok := m.stored[o]; !ok && !m.withdrawn[o] {
			m.Fatalf("%v was neither stored nor withdrawn", o)
		}
	}
	f, ok := m.end.(transfer.Finished)
	if !ok {
		return
	}
	m.mustBeHappy("what is stored", nil, func(ueb [32]byte) bool { return ueb == ours })
	if len(m.offers)+len(m.pulls)+len(m.cut) > 0 || !m.encoded {
		m.Fatal("finished while something is under way")
	}
	for n, servers := range f.Placement {
		for _, id := range servers {
			if m.stored[transfer.Offer{Server: id, Num: n}] != ours {
				m.Fatalf("share %d is not at %s", n, letter(id))
			}
		}
	}
}

// replay gives the same events to another value.
func (m *uploadModel) replay() {
	u := transfer.NewUpload(m.spec)
	trace := []string{fmt.Sprint(uploadEffects(u.Start()))}
	for i, ev := range m.events {
		trace = append(trace, fmt.Sprint(uploadEffects(u.Step(m.times[i], ev))))
	}
	if !slices.Equal(trace, m.trace) {
		m.Fatalf("the same events gave other effects:\n%q\n%q", m.trace, trace)
	}
}

func TestEveryUploadEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawUpload(t)
		actions := map[string]func(*rapid.T){
			"ask": m.answerAsk, "offer": m.answerOffer, "offer2": m.answerOffer, "keep": m.keep, "keep2": m.keep,
			"down": m.linkDown, "up": m.linkUp, "encoded": m.finishEncoding, "pass": m.pass, "noise": m.noise,
		}
		t.Repeat(actions)
		// From here on all answers come and time passes: it ends.
		for i := 0; m.end == nil; i++ {
			if i > 500 {
				t.Fatal("it does not end")
			}
			m.settle()
		}
		m.check()
		m.replay()
	})
}

// settle answers all that is outstanding: every server keeps what it has
// taken, and what has no connection never gets one again.
func (m *uploadModel) settle() {
	for _, id := range slices.Clone(m.asks) {
		remove(&m.asks, id)
		m.step(transfer.Holds{Server: id, Room: 1000})
	}
	for _, o := range slices.Concat(m.offers, m.pulls) {
		if slices.Contains(m.offers, o) || slices.Contains(m.pulls, o) {
			remove(&m.offers, o)
			m.store(o, ours, func(h [32]byte) transfer.UploadEvent {
				if m.leasing[o] {
					return transfer.Leased(o)
				}
				return transfer.Taken{Server: o.Server, Num: o.Num, Stored: true, UEBHash: h}
			})
		}
	}
	m.finishEncoding(nil)
	m.now = m.now.Add(31 * time.Second)
	m.step(transfer.Tick{})
}
