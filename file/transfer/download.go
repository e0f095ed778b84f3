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
//
// Where several servers hold the same share, only one copy of it is read at a
// time, over all segments: what is known of a share is known of that copy.
type Download struct {
	spec    DownloadSpec
	servers map[grid.ServerID]*downloadServer
	sources []*source // in the order they became known
	copies  map[grid.ShareNum]*shareCopy
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
	// Patience is how long a server may leave everything unanswered.
	Patience time.Duration
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

// shareCopy is whose copy of a share was read last.
type shareCopy struct {
	server grid.ServerID
	open   int // fetches under way
}

type downloadServer struct {
	asked, answered bool
	askedAt         time.Time
	heard           time.Time // or first asked since everything was answered
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
	d := &Download{
		spec: spec, servers: map[grid.ServerID]*downloadServer{},
		copies: map[grid.ShareNum]*shareCopy{}, wanted: map[int]*segmentState{},
	}
	for _, id := range spec.Order {
		d.servers[id] = &downloadServer{}
	}
	return d
}

// Start returns the first effects: k servers and a few more are asked.
func (d *Download) Start(now time.Time) []DownloadEffect {
	if first := d.look(now, d.spec.Needed+spareFinds); len(first) > 0 {
		return first
	}
	return d.fail()
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
		d.looked(now, e)
	case Want:
		d.want(e.Segment)
	case Got:
		first = d.got(now, e)
	case Missed:
		d.dismiss(e.Server, e.Err)
	case Bad:
		d.markBad(e)
	case Forget:
		d.forget(e.Segment)
	case Clock:
		d.dismissSilent(now)
	default:
		panic(fmt.Sprintf("transfer: unknown download event %T", ev))
	}
	return append(first, d.fetchAll(now)...)
}

// Waits reports whether the answer to f is still wanted. What comes for
// another fetch may be of a copy that is not read any more.
func (d *Download) Waits(f Fetch) bool {
	st := d.wanted[f.Segment]
	if st == nil || d.ended {
		return false
	}
	_, ok := st.pending[sourceKey{f.Server, f.Num}]
	return ok
}

// look asks the next n servers.
func (d *Download) look(now time.Time, n int) []DownloadEffect {
	var out []DownloadEffect
	for _, id := range d.spec.Order {
		if s := d.servers[id]; !s.asked && len(out) < n {
			s.asked, s.askedAt, s.heard = true, now, now
			out = append(out, Look{id})
		}
	}
	return out
}

// lookOn asks more servers, unless some may be about to answer.
func (d *Download) lookOn(now time.Time) []DownloadEffect {
	for _, s := range d.servers {
		if s.asked && !s.answered && now.Sub(s.askedAt) < d.spec.Hedge {
			return nil
		}
	}
	return d.look(now, d.spec.Needed)
}

func (d *Download) looked(now time.Time, e Looked) {
	s := d.servers[e.Server]
	if s == nil || s.answered {
		return
	}
	s.answered, s.err, s.latency, s.heard = true, e.Err, now.Sub(s.askedAt), now
	known := map[grid.ShareNum]bool{}
	for _, n := range e.Shares {
		if int(n) < d.spec.Total && !known[n] {
			known[n] = true
			d.sources = append(d.sources, &source{sourceKey{e.Server, n}, s})
		}
	}
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
			d.settle(key, segment)
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
	d.copies[key.num].open--
	return st, asked
}

// settleAll takes all fetches of one copy of a share off the books.
func (d *Download) settleAll(key sourceKey) {
	for _, segment := range d.order {
		d.settle(key, segment)
	}
}

func (d *Download) got(now time.Time, e Got) []DownloadEffect {
	st, asked := d.settle(sourceKey{e.Server, e.Num}, e.Segment)
	if st == nil {
		return nil
	}
	s := d.servers[e.Server]
	s.latency, s.heard = (3*s.latency+now.Sub(asked))/4, now
	st.have[e.Num] = true
	if len(st.have) < d.spec.Needed || st.decoded {
		return nil
	}
	st.decoded = true
	return []DownloadEffect{Decode{e.Segment}}
}

// dismiss gives a server up: nothing of it is used again in this download.
func (d *Download) dismiss(id grid.ServerID, err error) {
	s := d.servers[id]
	s.answered, s.err = true, err
	for _, src := range d.sources {
		if src.server == id {
			d.settleAll(src.sourceKey)
		}
	}
	d.sources = slices.DeleteFunc(d.sources, func(src *source) bool { return src.server == id })
}

// dismissSilent gives up servers that have not said anything for too long.
func (d *Download) dismissSilent(now time.Time) {
	for id, s := range d.servers {
		waiting := s.asked && !s.answered || s.open > 0
		if waiting && now.Sub(s.heard) >= d.spec.Patience {
			d.dismiss(id, ErrSilent)
		}
	}
}

// markBad notes that a share is not what it should be: this copy is not used
// again. Blocks of it that were proven stay good.
func (d *Download) markBad(e Bad) {
	key := sourceKey{e.Server, e.Num}
	d.servers[e.Server].err = e.Err
	d.settleAll(key)
	d.sources = slices.DeleteFunc(d.sources, func(src *source) bool { return src.sourceKey == key })
}

// fetchAll asks for what is wanted and not yet under way, looks at more
// servers when that is not enough, and ends the download when there are none.
func (d *Download) fetchAll(now time.Time) []DownloadEffect {
	var out []DownloadEffect
	short, hopeless := false, false
	for _, segment := range d.order {
		st := d.wanted[segment]
		if st.decoded {
			continue
		}
		out = append(out, d.fetch(now, segment, st)...)
		short = short || len(st.have)+d.onTime(now, st) < d.spec.Needed
		hopeless = hopeless || len(st.have)+len(st.pending) < d.spec.Needed
	}
	if !short {
		return out
	}
	more := d.lookOn(now)
	if hopeless && len(more) == 0 && !d.unanswered() {
		more = d.fail()
	}
	return append(out, more...)
}

// fetch brings the blocks under way to k, not counting those that are late.
func (d *Download) fetch(now time.Time, segment int, st *segmentState) []DownloadEffect {
	var out []DownloadEffect
	for len(st.have)+d.onTime(now, st) < d.spec.Needed {
		best := d.best(now, st)
		if best == nil {
			break
		}
		out = append(out, d.begin(now, segment, st, best)...)
	}
	return out
}

// begin asks a source for a block. If another copy of the share was read
// before, that one is done with.
func (d *Download) begin(now time.Time, segment int, st *segmentState, src *source) []DownloadEffect {
	var out []DownloadEffect
	c := d.copies[src.num]
	if c == nil {
		c = &shareCopy{server: src.server}
		d.copies[src.num] = c
	}
	if c.server != src.server {
		d.settleAll(sourceKey{c.server, src.num})
		c.server = src.server
		out = append(out, Switch{src.num})
	}
	if src.s.open == 0 {
		src.s.heard = now
	}
	st.pending[src.sourceKey] = now
	src.s.open++
	c.open++
	return append(out, Fetch{src.server, src.num, segment})
}

// onTime counts shares under way that are not late.
func (d *Download) onTime(now time.Time, st *segmentState) int {
	n := 0
	for key := range st.pending {
		if !d.late(now, st, key) {
			n++
		}
	}
	return n
}

func (d *Download) late(now time.Time, st *segmentState, key sourceKey) bool {
	return now.Sub(st.pending[key]) >= max(d.spec.Hedge, 4*d.servers[key.server].latency)
}

// best is the source that should answer first among those of shares that
// this segment neither has nor waits for; nil if there is none. A share whose
// copy is being read from another server comes only when there is no other
// and that server is late; then that one counts as slow, so that two slow
// servers don't take turns for ever.
func (d *Download) best(now time.Time, st *segmentState) *source {
	var best, instead *source
	for _, src := range d.sources {
		if _, waits := st.pending[src.sourceKey]; waits || st.have[src.num] {
			continue
		}
		c := d.copies[src.num]
		switch other := c != nil && c.server != src.server; {
		case !other || c.open == 0:
			best = cheaper(best, src)
		case d.lateFor(now, st, sourceKey{c.server, src.num}):
			instead = cheaper(instead, src)
		}
	}
	if best == nil && instead != nil {
		slow := sourceKey{d.copies[instead.num].server, instead.num}
		s := d.servers[slow.server]
		s.latency = max(s.latency, now.Sub(st.pending[slow]))
		best = instead
	}
	return best
}

// lateFor reports whether a segment waits for this copy too long.
func (d *Download) lateFor(now time.Time, st *segmentState, key sourceKey) bool {
	_, waits := st.pending[key]
	return waits && d.late(now, st, key)
}

func cheaper(a, b *source) *source {
	if a == nil || b.cost() < a.cost() {
		return b
	}
	return a
}

// cost is the time that one more fetch should take.
func (src *source) cost() time.Duration {
	return (src.s.latency + leastLatency) * time.Duration(1+src.s.open)
}

// leastLatency makes fetches spread over servers that answer in no time.
const leastLatency = time.Millisecond

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
