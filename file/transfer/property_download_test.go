package transfer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
)

// downloadModel answers a download as it likes.
type downloadModel struct {
	*rapid.T
	d      *transfer.Download
	spec   transfer.DownloadSpec
	now    time.Time
	events []transfer.DownloadEvent
	times  []time.Time
	trace  []string

	looks   []grid.ServerID
	fetches []transfer.Fetch // unanswered, wanted or not
	bad     map[transfer.Offer]bool
	out     map[grid.ServerID]bool
	copies  map[grid.ShareNum]grid.ServerID
	wanted  map[int]map[grid.ShareNum]bool // and which blocks have come
	decoded map[int]bool
	gaveUp  bool
}

func drawDownload(t *rapid.T) *downloadModel {
	total := rapid.IntRange(1, 5).Draw(t, "total")
	m := &downloadModel{
		T: t, now: start, bad: map[transfer.Offer]bool{}, out: map[grid.ServerID]bool{}, copies: map[grid.ShareNum]grid.ServerID{},
		wanted: map[int]map[grid.ShareNum]bool{}, decoded: map[int]bool{},
		spec: transfer.DownloadSpec{
			Total: total, Needed: rapid.IntRange(1, total).Draw(t, "needed"),
			Order: serverIDs("abcdefgh"[:rapid.IntRange(0, 8).Draw(t, "servers")]), Hedge: time.Second, Patience: time.Minute,
		},
	}
	m.d = transfer.NewDownload(m.spec)
	m.carryOut(m.d.Start(m.now))
	return m
}

func (m *downloadModel) step(ev transfer.DownloadEvent) {
	m.events, m.times = append(m.events, ev), append(m.times, m.now)
	m.carryOut(m.d.Step(m.now, ev))
}

func (m *downloadModel) carryOut(effects []transfer.DownloadEffect) {
	if m.gaveUp && len(effects) > 0 {
		m.Fatalf("effects after the end: %v", downloadEffects(effects))
	}
	m.trace = append(m.trace, fmt.Sprint(downloadEffects(effects)))
	for _, e := range effects {
		switch e := e.(type) {
		case transfer.Look:
			m.looks = append(m.looks, e.Server)
		case transfer.Switch:
			delete(m.copies, e.Num)
		case transfer.Fetch:
			m.fetch(e)
		case transfer.Decode:
			if len(m.wanted[e.Segment]) < m.spec.Needed || m.decoded[e.Segment] {
				m.Fatalf("segment %d can't be decoded of %v", e.Segment, m.wanted[e.Segment])
			}
			m.decoded[e.Segment] = true
		case transfer.GiveUp:
			m.gaveUp = true
		}
	}
	m.mustWait()
}

func (m *downloadModel) fetch(f transfer.Fetch) {
	if at := (transfer.Offer{Server: f.Server, Num: f.Num}); m.bad[at] || m.out[f.Server] {
		m.Fatalf("%v is read although it was given up", at)
	}
	if of, ok := m.copies[f.Num]; ok && of != f.Server {
		m.Fatalf("share %d is read from %s and %s at a time", f.Num, letter(of), letter(f.Server))
	}
	if m.wanted[f.Segment] == nil || m.wanted[f.Segment][f.Num] {
		m.Fatalf("fetches what nobody wants: %v", f)
	}
	m.copies[f.Num] = f.Server
	m.fetches = append(m.fetches, f)
}

// mustWait fails when something is wanted and nobody was asked.
func (m *downloadModel) mustWait() {
	waits := func(f transfer.Fetch) bool { return m.d.Waits(f) }
	if m.gaveUp || len(m.looks) > 0 || slices.ContainsFunc(m.fetches, waits) {
		return
	}
	for segment := range m.wanted {
		if !m.decoded[segment] {
			m.Fatalf("segment %d is wanted and nobody was asked", segment)
		}
	}
}

func (m *downloadModel) answerLook(t *rapid.T) {
	id, ok := draw(t, m.looks, "looked at")
	if !ok {
		return
	}
	remove(&m.looks, id)
	l := transfer.Looked{Server: id}
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 6), 0, 4).Draw(t, "shares") {
		l.Shares = append(l.Shares, grid.ShareNum(n))
	}
	m.step(l)
}

// answerFetch answers one that may have been forgotten meanwhile.
func (m *downloadModel) answerFetch(t *rapid.T) {
	f, ok := draw(t, m.fetches, "fetch")
	if !ok {
		return
	}
	remove(&m.fetches, f)
	switch rapid.IntRange(0, 7).Draw(t, "answer") {
	case 0:
		m.bad[transfer.Offer{Server: f.Server, Num: f.Num}] = true
		m.step(transfer.Bad{Server: f.Server, Num: f.Num, Err: errScripted})
	case 1:
		m.out[f.Server] = true
		m.step(transfer.Missed{Server: f.Server, Num: f.Num, Segment: f.Segment, Err: errScripted})
	default:
		m.got(f)
	}
}

func (m *downloadModel) got(f transfer.Fetch) {
	if m.d.Waits(f) {
		m.wanted[f.Segment][f.Num] = true
	}
	m.step(transfer.Got(f))
}

func (m *downloadModel) want(t *rapid.T) {
	segment := rapid.IntRange(0, 3).Draw(t, "segment")
	if m.wanted[segment] == nil && !m.gaveUp {
		m.wanted[segment] = map[grid.ShareNum]bool{}
		m.step(transfer.Want{Segment: segment})
	}
}

func (m *downloadModel) forget(t *rapid.T) {
	segment := rapid.IntRange(0, 3).Draw(t, "segment")
	delete(m.wanted, segment)
	delete(m.decoded, segment)
	m.step(transfer.Forget{Segment: segment})
}

func (m *downloadModel) pass(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "half seconds")) * time.Second / 2)
	m.step(transfer.Clock{})
}

func (m *downloadModel) replay() {
	d := transfer.NewDownload(m.spec)
	trace := []string{fmt.Sprint(downloadEffects(d.Start(start)))}
	for i, ev := range m.events {
		trace = append(trace, fmt.Sprint(downloadEffects(d.Step(m.times[i], ev))))
	}
	if !slices.Equal(trace, m.trace) {
		m.Fatalf("the same events gave other effects:\n%q\n%q", m.trace, trace)
	}
}

// over reports whether all that is wanted is decoded, or given up.
func (m *downloadModel) over() bool { return m.gaveUp || len(m.decoded) == len(m.wanted) }

func TestEveryDownloadEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawDownload(t)
		t.Repeat(map[string]func(*rapid.T){
			"look": m.answerLook, "fetch": m.answerFetch, "fetch2": m.answerFetch, "want": m.want, "want2": m.want,
			"forget": m.forget, "pass": m.pass,
		})
		// From here on servers say nothing, or give what they are asked for:
		// either way it ends.
		silent := rapid.Bool().Draw(t, "silent")
		for i := 0; !m.over(); i++ {
			if i > 500 {
				t.Fatal("it does not end")
			}
			m.now = m.now.Add(10 * time.Second)
			m.step(transfer.Clock{})
			if !silent {
				m.answerAll()
			}
		}
		m.replay()
	})
}

func (m *downloadModel) answerAll() {
	for _, id := range slices.Clone(m.looks) {
		remove(&m.looks, id)
		m.step(transfer.Looked{Server: id})
	}
	for _, f := range slices.Clone(m.fetches) {
		remove(&m.fetches, f)
		m.got(f)
	}
}
