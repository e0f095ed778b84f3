package transfer

import (
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Download decides which blocks of one file to fetch from whom. It asks a few
// servers which shares they hold, fetches any k blocks of each wanted segment
// from those that have answered fastest, asks another when one is slow, and
// never again a share that was found bad.
type Download struct {
	spec    DownloadSpec
	servers map[grid.ServerID]*downloadServer
	sources []*source // in the order they became known
	bad     map[sourceKey]bool
	wanted  map[int]*segmentState
	order   []int // wanted segments, first wanted first
	ended   bool
}

// DownloadSpec is what a download is born with.
type DownloadSpec struct {
	Needed int // k
	Total  int // N
	// Order is the servers that may be asked, by likelihood of holding shares.
	Order []grid.ServerID
	// Hedge is the least time after which a block that has not come is asked
	// for elsewhere too.
	Hedge time.Duration
}

type sourceKey struct {
	server grid.ServerID
	num    grid.ShareNum
}

// source is a share that can be read.
type source struct {
	sourceKey
	s *downloadServer
}

type downloadServer struct {
	asked, answered bool
	askedAt         time.Time
	err             error
	latency         time.Duration // smoothed time of a fetch
	open            int           // fetches under way
}

type segmentState struct {
	have    map[grid.ShareNum]bool
	pending map[sourceKey]time.Time
	decoded bool // handed to Decode
}

// NewDownload validates nothing: spec comes from a validated capability.
func NewDownload(spec DownloadSpec) *Download {
	d := &Download{spec: spec, servers: map[grid.ServerID]*downloadServer{}, bad: map[sourceKey]bool{}, wanted: map[int]*segmentState{}}
	for _, id := range spec.Order {
		d.servers[id] = &downloadServer{}
	}
	return d
}

// Start returns the first effects: k servers and a few more are asked.
func (d *Download) Start(now time.Time) []DownloadEffect {
	return d.then(d.look(now, d.spec.Needed+spareFinds))
}

// spareFinds is how many servers more than needed are asked at first, so that
// one that is slow or has nothing costs no round trip.
const spareFinds = 2

// Step takes one event and returns what to do, in order.
func (d *Download) Step(now time.Time, ev DownloadEvent) []DownloadEffect {
	if d.ended {
		return nil
	}
	var first []DownloadEffect
	switch e := ev.(type) {
	case Looked:
		first = d.looked(now, e)
	case Want:
		d.want(e.Segment)
	case Got:
		first = d.got(now, e)
	case Missed:
		d.missed(e)
	case Bad:
		d.markBad(e)
	case Forget:
		d.forget(e.Segment)
	case Clock:
		first = d.lookOn(now)
	default:
		panic(fmt.Sprintf("transfer: unknown download event %T", ev))
	}
	return append(first, d.fetchAll(now)...)
}

func (d *Download) then(first []DownloadEffect) []DownloadEffect {
	if len(first) == 0 {
		return d.fail()
	}
	return first
}

// look asks the next n servers.
func (d *Download) look(now time.Time, n int) []DownloadEffect {
	var out []DownloadEffect
	for _, id := range d.spec.Order {
		if s := d.servers[id]; !s.asked && len(out) < n {
			s.asked, s.askedAt = true, now
			out = append(out, Look{id})
		}
	}
	return out
}

// lookOn asks more servers when those asked have not been enough for a while.
func (d *Download) lookOn(now time.Time) []DownloadEffect {
	if d.distinct() >= d.spec.Needed {
		return nil
	}
	for _, s := range d.servers {
		if s.asked && !s.answered && now.Sub(s.askedAt) < d.spec.Hedge {
			return nil
		}
	}
	return d.look(now, d.spec.Needed)
}

func (d *Download) looked(now time.Time, e Looked) []DownloadEffect {
	s := d.servers[e.Server]
	if s == nil || s.answered {
		return nil
	}
	s.answered, s.err, s.latency = true, e.Err, now.Sub(s.askedAt)
	for _, n := range e.Shares {
		if key := (sourceKey{e.Server, n}); int(n) < d.spec.Total && !d.bad[key] {
			d.sources = append(d.sources, &source{key, s})
		}
	}
	return nil
}

// distinct is how many different shares can be read.
func (d *Download) distinct() int {
	seen := map[grid.ShareNum]bool{}
	for _, src := range d.sources {
		seen[src.num] = true
	}
	return len(seen)
}

func (d *Download) want(segment int) {
	if d.wanted[segment] == nil {
		d.wanted[segment] = &segmentState{have: map[grid.ShareNum]bool{}, pending: map[sourceKey]time.Time{}}
		d.order = append(d.order, segment)
	}
}

func (d *Download) forget(segment int) {
	if st := d.wanted[segment]; st != nil {
		for key := range st.pending {
			d.servers[key.server].open--
		}
		delete(d.wanted, segment)
		d.order = slices.DeleteFunc(d.order, func(n int) bool { return n == segment })
	}
}

// settle takes a fetch off the books; it reports nil if nobody waits for it.
func (d *Download) settle(key sourceKey, segment int) (*segmentState, time.Time) {
	st := d.wanted[segment]
	if st == nil {
		return nil, time.Time{}
	}
	asked, ok := st.pending[key]
	if !ok {
		return nil, time.Time{}
	}
	delete(st.pending, key)
	d.servers[key.server].open--
	return st, asked
}

func (d *Download) got(now time.Time, e Got) []DownloadEffect {
	st, asked := d.settle(sourceKey{e.Server, e.Num}, e.Segment)
	if st == nil {
		return nil
	}
	s := d.servers[e.Server]
	s.latency = (3*s.latency + now.Sub(asked)) / 4
	st.have[e.Num] = true
	if len(st.have) < d.spec.Needed || st.decoded {
		return nil
	}
	st.decoded = true
	return []DownloadEffect{Decode{e.Segment}}
}

// missed notes that a server could not be asked: nothing of it is used again
// in this download.
func (d *Download) missed(e Missed) {
	d.settle(sourceKey{e.Server, e.Num}, e.Segment)
	d.servers[e.Server].err = e.Err
	d.sources = slices.DeleteFunc(d.sources, func(src *source) bool { return src.server == e.Server })
}

// markBad notes that a share is not what it should be: it is not used again,
// and what had come from it does not count.
func (d *Download) markBad(e Bad) {
	key := sourceKey{e.Server, e.Num}
	d.bad[key] = true
	d.servers[e.Server].err = e.Err
	d.sources = slices.DeleteFunc(d.sources, func(src *source) bool { return src.sourceKey == key })
	for _, segment := range d.order {
		d.settle(key, segment)
	}
}

// fetchAll asks for what is wanted and not yet under way, and ends the
// download when that can't be had.
func (d *Download) fetchAll(now time.Time) []DownloadEffect {
	var out []DownloadEffect
	for _, segment := range d.order {
		st := d.wanted[segment]
		if st.decoded {
			continue
		}
		out = append(out, d.fetch(now, segment, st)...)
		if len(st.have)+len(st.pending) >= d.spec.Needed {
			continue
		}
		more := d.look(now, d.spec.Needed)
		if len(more) == 0 && !d.unanswered() {
			return append(out, d.fail()...)
		}
		out = append(out, more...)
	}
	return out
}

// fetch brings the blocks under way to k, not counting those that are late.
func (d *Download) fetch(now time.Time, segment int, st *segmentState) []DownloadEffect {
	var out []DownloadEffect
	for len(st.have)+d.onTime(now, st) < d.spec.Needed {
		best := d.best(st)
		if best == nil {
			break
		}
		st.pending[best.sourceKey] = now
		best.s.open++
		out = append(out, Fetch{best.server, best.num, segment})
	}
	return out
}

// onTime counts different shares under way that are not late.
func (d *Download) onTime(now time.Time, st *segmentState) int {
	n := 0
	for key, asked := range st.pending {
		if !st.have[key.num] && now.Sub(asked) < max(d.spec.Hedge, 4*d.servers[key.server].latency) {
			n++
		}
	}
	return n
}

// best is the source that should answer first among those of shares that
// this segment neither has nor waits for; nil if there is none.
func (d *Download) best(st *segmentState) *source {
	taken := map[grid.ShareNum]bool{}
	for key := range st.pending {
		taken[key.num] = true
	}
	var best *source
	for _, src := range d.sources {
		if st.have[src.num] || taken[src.num] {
			continue
		}
		if best == nil || src.cost() < best.cost() {
			best = src
		}
	}
	return best
}

// cost is the time that one more fetch should take.
func (src *source) cost() time.Duration { return src.s.latency * time.Duration(1+src.s.open) }

func (d *Download) unanswered() bool {
	for _, s := range d.servers {
		if s.asked && !s.answered {
			return true
		}
	}
	return false
}

func (d *Download) fail() []DownloadEffect {
	d.ended = true
	e := &NotEnoughShares{Needed: d.spec.Needed, Found: d.distinct(), Asked: len(d.servers), Reasons: map[grid.ServerID]error{}}
	for id, s := range d.servers {
		if s.err != nil {
			e.Reasons[id] = s.err
		}
	}
	return []DownloadEffect{GiveUp{e}}
}
