package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// How a version is written. The first server, in the order of the file, that
// holds a share of the version before decides between writers: it takes a new version only from
// who has seen the one that it holds. Who loses there has written nothing and
// begins anew; who wins goes on with all the others. Everybody asks in the same
// order, so only where one can't reach that server does a race end otherwise:
// then each of the others tells of it. A version that is newer than the one that
// can be read is somebody's who is just writing: it is left in peace for
// writePatience, within which its writer must have made it one that can be read,
// or must not count it.

// draft is a version that is to be written: what becomes of each share.
type draft struct {
	prefix mutable.Prefix
	size   int64                    // of a share
	heads  map[grid.ShareNum][]byte // how each will begin
	parts  map[grid.ShareNum][]part // what is written of each
	whole  bool                     // the parts are all of it, so that it can be made anew
	base   *mutable.Prefix          // of the shares that are changed; nil where they are replaced
	stream *stream                  // brings the parts; nil where they are here
}

// part is written at an offset of a share.
type part struct {
	off  int64
	data []byte
}

// target is a place for a share.
type target struct {
	server candidate
	num    grid.ShareNum
	seen   []byte // what is there, nil for nothing
}

// create makes a new file.
func (m *mutableFile) create(f *flow, c CreateMutable) {
	if m.key = c.Key; m.key == nil {
		f.ctx.Send(m.keys, AskKey{f.ctx.Self()})
		made := m.awaitKey(f)
		if made.Err != nil {
			m.answer(f, c.ReplyTo, made.Err)
			return
		}
		m.key = made.Key
	}
	m.cap = m.key.Capability(c.Format)
	layout, err := mutable.NewLayout(c.Format, c.Size, c.Params)
	if err != nil {
		m.answer(f, c.ReplyTo, err)
		return
	}
	d, content, err := m.draftOf(f, layout, 1, c.Content)
	if err != nil {
		m.answer(f, c.ReplyTo, err)
		return
	}
	w := m.newWriting(&survey{}, nil, d, c.Params)
	list := m.candidates(f, candidates{want: c.Params.Happy, storing: true})
	w.left, w.room = list.left, list.servers
	err = m.place(f, w)
	if err == nil && w.happiness() < c.Params.Happy {
		err = &UploadError{Err: &placement.TooFewServers{Happy: c.Params.Happy, Reachable: w.happiness()}, Reasons: w.reasons()}
	}
	m.finish(f, c.ReplyTo, w, err, content)
}

func (m *mutableFile) awaitKey(f *flow) KeyMade {
	for {
		if made, ok := f.wait().(KeyMade); ok {
			return made
		}
		f.letGo()
	}
}

// encode makes all shares of a version.
func (m *mutableFile) encode(f *flow, l mutable.Layout, seqnum uint64, content []byte) (*draft, error) {
	type encoded struct {
		prefix mutable.Prefix
		shares [][]byte
		err    error
	}
	key, random := m.key, m.env.Rand
	got := do(f, env.CPU, func() encoded {
		p, shares, err := mutable.Encode(l, key, seqnum, content, random)
		return encoded{p, shares, err}
	})
	if got.err != nil {
		return nil, got.err
	}
	d := &draft{prefix: got.prefix, heads: map[grid.ShareNum][]byte{}, parts: map[grid.ShareNum][]part{}, whole: true}
	for n, share := range got.shares {
		num := grid.ShareNum(n)
		d.size = int64(len(share))
		d.heads[num], d.parts[num] = share[:min(len(share), surveySize)], []part{{0, share}}
	}
	return d, nil
}

// write makes a new version of a file.
func (m *mutableFile) write(f *flow, w WriteMutable) {
	if !m.cap.Writable() {
		m.answer(f, w.ReplyTo, errReadOnly)
		return
	}
	var data []byte
	var err error
	if w.Part {
		data, err = m.load(f, w.Content, 0, w.Size)
	}
	if err != nil {
		m.answer(f, w.ReplyTo, err)
		return
	}
	s := m.known
	m.known = nil
	for tries := 0; ; tries++ {
		if s == nil {
			s, err = m.settled(f, w.Params)
		}
		if err != nil {
			m.answer(f, w.ReplyTo, err)
			return
		}
		done, err := m.writeOnto(f, w, s, data)
		var conflict *ConflictError
		switch {
		case err == nil:
			m.finish(f, w.ReplyTo, done.writing, nil, done.content)
			return
		case (errors.As(err, &conflict) && conflict.Clean && (w.Base == nil || !m.newer(s, w.Base))) && tries < maxSurveys,
			errors.Is(err, errOverwritten) && tries < maxSurveys:
			// What was known was old: nothing has been written.
			m.forget()
			s = nil
			if tries > 0 {
				f.sleep(m.env.Jitter(writeAgain))
			}
		default:
			m.forget()
			m.answer(f, w.ReplyTo, err)
			return
		}
	}
}

// newer reports whether a survey shows that a base is not the newest version.
func (m *mutableFile) newer(s *survey, base *mutable.Prefix) bool {
	v, err := s.best()
	return err == nil && v.Prefix != *base
}

// settled is a survey in which nobody is just writing, or who does has given up.
func (m *mutableFile) settled(f *flow, p file.Params) (*survey, error) {
	var waited mutable.Prefix
	var since time.Time
	for torn := 0; ; {
		s, err := m.survey(f, p, true)
		if err != nil {
			return nil, err
		}
		if _, err := s.best(); err != nil {
			return nil, err
		}
		now := m.env.Clock.Now()
		switch {
		case s.torn() && torn < 2:
			torn++
			continue
		case !s.unfinished():
			return s, nil
		case s.versions[0].Prefix != waited:
			waited, since = s.versions[0].Prefix, now
		case now.Sub(since) >= writePatience:
			return s, nil
		}
		f.sleep(m.env.Jitter(writeAgain))
	}
}

// written is what came of it.
type written struct {
	*writing
	content []byte // of all of the file, nil if it is not known
}

// writeOnto writes onto the newest version that can be read.
func (m *mutableFile) writeOnto(f *flow, w WriteMutable, s *survey, data []byte) (written, error) {
	v, err := s.best()
	if err != nil {
		return written{}, err
	}
	if w.Base != nil && *w.Base != v.Prefix {
		return written{}, &ConflictError{Clean: true}
	}
	if err := m.openKey(f, s); err != nil {
		return written{}, err
	}
	seqnum, err := mutable.NextSeqnum(s.versions)
	if err != nil {
		return written{}, err
	}
	d, content, err := m.draft(f, w, s, v.Prefix, seqnum, data)
	if err != nil {
		return written{}, err
	}
	job := m.newWriting(s, &v.Prefix, d, w.Params)
	err = m.place(f, job)
	return written{job, content}, err
}

// draft makes the new version: of a large file of which a part is written only
// the segments that this changes.
func (m *mutableFile) draft(f *flow, w WriteMutable, s *survey, p mutable.Prefix, seqnum uint64, data []byte) (*draft, []byte, error) {
	if !w.Part {
		l, err := layoutOf(p, w.Size)
		if err != nil {
			return nil, nil, err
		}
		return m.draftOf(f, l, seqnum, w.Content)
	}
	off := w.Offset
	if off < 0 {
		off = p.Size
	}
	if len(data) == 0 {
		off, data = 0, nil // nothing changes but the version
	}
	if p.Format == mutable.MDMF && len(data) > 0 && p.NumSegments() > 1 {
		if d, err := m.update(f, s, p, seqnum, off, data); !errors.Is(err, errNotAllShares) {
			return d, nil, err
		}
	}
	all, err := m.whole(f, s, p)
	if err != nil {
		return nil, nil, err
	}
	all = splice(all, off, data)
	l, err := layoutOf(p, int64(len(all)))
	if err != nil {
		return nil, nil, err
	}
	d, err := m.encode(f, l, seqnum, all)
	return d, all, err
}

// layoutOf cuts a new version as the one before was.
func layoutOf(p mutable.Prefix, size int64) (mutable.Layout, error) {
	segment := p.SegmentSize
	if p.Format == mutable.SDMF {
		segment = 0
	}
	return mutable.NewLayout(p.Format, size, file.Params{Needed: p.Needed, Total: p.Total, SegmentSize: segment})
}

// splice writes into content, which grows where it has to.
func splice(content []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(content)) {
		content = append(content, make([]byte, end-int64(len(content)))...)
	}
	copy(content[off:], data)
	return content
}

// errNotAllShares means that the hashes of some share are not to be had.
var errNotAllShares = errors.New("not all shares of the version are there")

// update encodes the segments that change. It takes the hashes of the others from
// all of the shares.
func (m *mutableFile) update(f *flow, s *survey, p mutable.Prefix, seqnum uint64, off int64, data []byte) (*draft, error) {
	u, err := mutable.NewUpdate(p.Layout, off, int64(len(data)))
	if err != nil {
		return nil, err
	}
	shares, err := m.proveTrees(f, s, p)
	if err != nil {
		return nil, err
	}
	old := map[int64][]byte{}
	for i := u.First; i <= u.Last; i++ {
		if u.NeedsOld(i) {
			if old[i], err = m.segments(f, s, p, i, i); err != nil {
				return nil, err
			}
		}
	}
	type encoded struct {
		d   *draft
		err error
	}
	key, random := m.key, m.env.Rand
	got := do(f, env.CPU, func() encoded {
		d, err := encodeUpdate(u, key, seqnum, shares, old, data, random)
		return encoded{d, err}
	})
	if got.err == nil {
		got.d.base = &p
	}
	return got.d, got.err
}

// proveTrees fetches the block hash trees of one share of each number.
func (m *mutableFile) proveTrees(f *flow, s *survey, p mutable.Prefix) (map[grid.ShareNum]*heldShare, error) {
	shares := map[grid.ShareNum]*heldShare{}
	var all []*fetch
	var calls []*asked
	for _, h := range s.of(p) {
		if shares[h.num] != nil {
			continue
		}
		shares[h.num] = h
		if h.blocks == nil {
			t := m.fetch(f, h, h.wanted(0, -1))
			all, calls = append(all, t), append(calls, t.asked...)
		}
	}
	if len(shares) < p.Total {
		f.leave(calls)
		return nil, errNotAllShares
	}
	f.gather(calls, 0, nil)
	var failed error
	for _, t := range all {
		if _, err := m.takeBlocks(f, t, 0, -1); err != nil {
			t.of.failed = true
			failed = err
		}
		t.release()
	}
	if errors.Is(failed, mutable.ErrShare) {
		return nil, fmt.Errorf("%w: %w", errOverwritten, failed)
	}
	if failed != nil {
		return nil, errNotAllShares
	}
	return shares, nil
}

// encodeUpdate burns the CPU.
func encodeUpdate(u mutable.Update, key *mutable.Key, seqnum uint64, shares map[grid.ShareNum]*heldShare, old map[int64][]byte, data []byte, random io.Reader) (*draft, error) {
	e, err := mutable.NewEncoder(u.New, key)
	if err != nil {
		return nil, err
	}
	var segments []*mutable.Segment
	for i := u.First; i <= u.Last; i++ {
		content, err := u.Content(i, old[i], data)
		if err != nil {
			return nil, err
		}
		var salt [mutable.SaltSize]byte
		if _, err := io.ReadFull(random, salt[:]); err != nil {
			return nil, err
		}
		segment, err := e.EncodeSegment(i, content, salt)
		if err != nil {
			return nil, err
		}
		if err := e.Add(segment); err != nil {
			return nil, err
		}
		segments = append(segments, segment)
	}
	for _, i := range u.Kept() {
		hashes := make([]tagged.Hash, u.New.Total)
		for n := range hashes {
			hash, ok := shares[grid.ShareNum(n)].blocks.Hash(i)
			if !ok {
				return nil, errNotAllShares
			}
			hashes[n] = hash
		}
		if err := e.Keep(i, hashes); err != nil {
			return nil, err
		}
	}
	return updateDraft(e, u, seqnum, segments, random)
}

func updateDraft(e *mutable.Encoder, u mutable.Update, seqnum uint64, segments []*mutable.Segment, random io.Reader) (*draft, error) {
	p, err := e.Finish(seqnum, random)
	if err != nil {
		return nil, err
	}
	h := e.Header()
	d := &draft{prefix: p, size: h.Size(), heads: map[grid.ShareNum][]byte{}, parts: map[grid.ShareNum][]part{}}
	for n := range u.New.Total {
		num := grid.ShareNum(n)
		head, err := e.Head(num)
		if err != nil {
			return nil, err
		}
		tail, err := e.Tail(num)
		if err != nil {
			return nil, err
		}
		var blocks []byte
		for _, s := range segments {
			blocks = append(blocks, s.Blocks[n]...)
		}
		d.heads[num] = head
		d.parts[num] = []part{{0, head}, {h.Block(u.First).Off, blocks}, {h.BlockTree.Off, tail}}
	}
	return d, nil
}

// writing is a version on its way to its servers.
type writing struct {
	*draft
	params file.Params
	found  *survey
	over   *mutable.Prefix // the version before, nil for a new file
	room   []candidate     // that may get new shares; nil until they were asked for
	left   []LeftOut
	begun  time.Time

	placed    map[grid.ShareNum][]grid.ServerID
	labels    map[grid.ServerID]grid.PublicKey
	at        []target // where it is
	refused   map[grid.ServerID]error
	conflicts []uint64 // sequence numbers of what others wrote
}

func (m *mutableFile) newWriting(s *survey, over *mutable.Prefix, d *draft, p file.Params) *writing {
	return &writing{draft: d, params: p, found: s, over: over, placed: map[grid.ShareNum][]grid.ServerID{},
		labels: map[grid.ServerID]grid.PublicKey{}, refused: map[grid.ServerID]error{}}
}

func (w *writing) happiness() int {
	var edges []placement.Edge
	for num, ids := range w.placed {
		for _, id := range ids {
			edges = append(edges, placement.Edge{Server: id, Share: num})
		}
	}
	return placement.Happiness(edges)
}

func (w *writing) reasons() map[grid.ServerID]error {
	all := maps.Clone(w.refused)
	for _, l := range w.left {
		all[l.Server] = l.Err
	}
	return all
}

// place writes a version: to the server that decides, to all others that hold
// shares, and where shares have no place to servers that have the fewest.
func (m *mutableFile) place(f *flow, w *writing) error {
	err := m.placeAll(f, w)
	m.unstage(f.ctx)
	return err
}

func (m *mutableFile) placeAll(f *flow, w *writing) error {
	w.begun = m.env.Clock.Now()
	groups := w.existing()
	if w.stream != nil {
		w.at = w.planned(groups)
		more := m.homeless(f, w)
		w.at = nil
		if err := m.stageStream(f, w, slices.Concat(groups, more)); err != nil {
			return err
		}
		groups = append(groups, more...)
	}
	for len(groups) > 0 && len(w.at) == 0 {
		first := groups[0]
		groups = groups[1:]
		if err := m.decide(f, w, first); err != nil {
			return err
		}
	}
	m.sendAll(f, w, groups)
	for len(w.conflicts) == 0 && w.whole {
		more := m.homeless(f, w)
		if len(more) == 0 {
			break
		}
		if w.stream != nil {
			if err := m.stageStream(f, w, more); err != nil {
				return err
			}
		}
		m.sendAll(f, w, more)
	}
	return w.verdict(m.env.Clock.Now())
}

// decide writes to the server that decides. One that is gone or refuses leaves it
// to the next.
func (m *mutableFile) decide(f *flow, w *writing, group []target) error {
	for tries := 0; ; tries++ {
		if late := m.send(f, w, [][]target{group}); len(late) > 0 {
			return &ConflictError{Clean: true}
		}
		err := w.refused[group[0].server.id]
		switch {
		case len(w.conflicts) > 0:
			return &ConflictError{Clean: true}
		case err == nil || tries >= 3 || !busy(err):
			return nil
		}
		delete(w.refused, group[0].server.id)
		f.sleep(m.env.Jitter(writeAgain))
	}
}

func busy(err error) bool { return errors.Is(err, &wire.Error{Code: wire.Busy}) }

// existing are the places that hold shares, by server, in the order of the file,
// but that the one which decides comes first. Where parts are written only shares of the version they are of count.
func (w *writing) existing() (groups [][]target) {
	decides := -1
	for _, c := range w.found.servers {
		var group []target
		newest := false
		for _, h := range w.found.shares {
			if h.server.id != c.id || int(h.num) >= w.prefix.Total {
				continue
			}
			if w.base != nil && (h.err != nil || h.share.Header.Prefix != *w.base) {
				continue
			}
			group = append(group, target{h.server, h.num, h.seen()})
			newest = newest || h.err == nil && w.over != nil && h.share.Header.Prefix == *w.over
		}
		if newest && decides < 0 {
			decides = len(groups)
		}
		if len(group) > 0 {
			slices.SortFunc(group, func(a, b target) int { return int(a.num) - int(b.num) })
			groups = append(groups, group)
		}
	}
	if decides > 0 {
		first := groups[decides]
		groups = slices.Insert(slices.Delete(groups, decides, decides+1), 0, first)
	}
	return groups
}

// planned are the places of all groups.
func (w *writing) planned(groups [][]target) (all []target) {
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

// homeless finds places for shares that have none.
func (m *mutableFile) homeless(f *flow, w *writing) (groups [][]target) {
	var nums []grid.ShareNum
	for n := range w.prefix.Total {
		num := grid.ShareNum(n)
		if len(w.placed[num]) == 0 && !slices.ContainsFunc(w.at, func(t target) bool { return t.num == num }) {
			nums = append(nums, num)
		}
	}
	if len(nums) == 0 {
		return nil
	}
	if w.room == nil {
		list := m.candidates(f, candidates{want: w.params.Happy, storing: true})
		w.room, w.left = list.servers, list.left
	}
	given := map[grid.ServerID]int{}
	for _, t := range w.at {
		given[t.server.id]++
	}
	at := map[grid.ServerID]int{}
	for _, num := range nums {
		c, ok := w.emptiest(given)
		if !ok {
			return groups
		}
		given[c.id]++
		i, ok := at[c.id]
		if !ok {
			i = len(groups)
			at[c.id], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], target{c, num, w.found.seenAt(c.id, num)})
	}
	return groups
}

// emptiest is the server with the fewest shares that has refused none.
func (w *writing) emptiest(given map[grid.ServerID]int) (best candidate, ok bool) {
	for _, c := range w.room {
		if w.refused[c.id] == nil && (!ok || given[c.id] < given[best.id]) {
			best, ok = c, true
		}
	}
	return best, ok
}

// seenAt is what a server was found to hold as a share.
func (s *survey) seenAt(id grid.ServerID, num grid.ShareNum) []byte {
	for _, h := range s.shares {
		if h.server.id == id && h.num == num {
			return h.seen()
		}
	}
	return nil
}

// sendAll writes to servers that do not decide. Where one of them has got an older
// version meanwhile, of who wrote before, that is what is overwritten.
func (m *mutableFile) sendAll(f *flow, w *writing, groups [][]target) {
	for tries := 0; len(groups) > 0; tries++ {
		groups = m.send(f, w, groups)
		if tries == maxSurveys {
			for range groups {
				w.conflicts = append(w.conflicts, 0)
			}
			return
		}
	}
}

// send writes to some servers at the same time, to each all of its shares. It
// returns those that hold an older version than this one, and not the one that was
// seen.
func (m *mutableFile) send(f *flow, w *writing, groups [][]target) (late [][]target) {
	staged := make([]map[grid.ShareNum]wire.Secret, len(groups))
	var calls []*asked
	var of []int
	for i, group := range groups {
		staged[i] = map[grid.ShareNum]wire.Secret{}
		if w.stream != nil {
			for _, t := range group {
				staged[i][t.num] = w.stream.secrets[placeOf{t.server.id, t.num}]
			}
			continue
		}
		if w.fits(group) {
			continue
		}
		for _, t := range group {
			secret := m.newStage(t)
			staged[i][t.num] = secret
			for _, a := range m.stage(f, w, t, secret) {
				calls, of = append(calls, a), append(of, i)
			}
		}
	}
	f.gather(calls, 0, nil)
	for i, a := range calls {
		id := groups[of[i]][0].server.id
		if _, ok := a.reply.Frame.Message.(*wire.Done); !ok && w.refused[id] == nil {
			w.refused[id] = unexpected(*a.reply)
		}
		a.reply.Frame.Release()
	}
	return m.mutate(f, w, groups, staged)
}

// fits reports whether all of it goes into one frame.
func (w *writing) fits(group []target) bool {
	n := 0
	for _, t := range group {
		n += len(t.seen)
		for _, p := range w.parts[t.num] {
			n += len(p.data)
		}
	}
	return n <= wire.MaxRequestBody
}

// stage brings the parts of a share, one after the other.
func (m *mutableFile) stage(f *flow, w *writing, t target, secret wire.Secret) (calls []*asked) {
	at := int64(0)
	for _, p := range w.parts[t.num] {
		calls = append(calls, m.stageAt(f, w, t, secret, at, p.data)...)
		at += int64(len(p.data))
	}
	return calls
}

func (m *mutableFile) stageAt(f *flow, w *writing, t target, secret wire.Secret, off int64, data []byte) (calls []*asked) {
	for data := range slices.Chunk(data, wire.MaxRequestBody) {
		stage := &wire.Stage{StorageIndex: m.cap.StorageIndex(), Num: t.num, Enabler: m.enabler(t.server), Secret: secret, Size: uint64(w.size), Offset: uint64(off)}
		calls = append(calls, f.ask(t.server.pid, Call{Frame: wire.Frame{Message: stage}.WithBody(nil, data)}))
		off += int64(len(data))
	}
	return calls
}

func (m *mutableFile) enabler(c candidate) lease.WriteEnabler {
	return lease.WriteEnabler(m.key.WriteKey().WriteEnabler(c.announcement.NodeID))
}

// mutate has what was sent, or is sent now, take the place of what was seen.
func (m *mutableFile) mutate(f *flow, w *writing, groups [][]target, staged []map[grid.ShareNum]wire.Secret) (late [][]target) {
	var calls []*asked
	var sent [][]target
	for i, group := range groups {
		if w.refused[group[0].server.id] != nil {
			continue
		}
		msg := &wire.Mutate{StorageIndex: m.cap.StorageIndex(), Enabler: m.enabler(group[0].server), Reads: []wire.Range{{Length: checkstringSize}}}
		var body [][]byte
		for _, t := range group {
			s := wire.MutateShare{Num: t.num, Cut: true, Length: uint64(w.size), Staged: staged[i][t.num]}
			m.taken(s.Staged)
			s.Tests = []wire.Test{{Length: checkstringSize, Wanted: uint64(len(t.seen))}}
			body = append(body, t.seen)
			if w.stream != nil {
				s.Writes = []wire.Range{{Length: uint64(w.size)}}
			}
			for _, p := range w.parts[t.num] {
				s.Writes = append(s.Writes, wire.Range{Offset: uint64(p.off), Length: uint64(len(p.data))})
				if s.Staged == (wire.Secret{}) {
					body = append(body, p.data)
				}
			}
			msg.Shares = append(msg.Shares, s)
		}
		calls = append(calls, f.ask(group[0].server.pid, Call{Frame: wire.Frame{Message: msg}.WithBody(nil, body...)}))
		sent = append(sent, group)
	}
	f.gather(calls, 0, nil)
	for i, a := range calls {
		if again := w.took(sent[i], *a.reply); again != nil {
			late = append(late, again)
		}
		a.reply.Frame.Release()
	}
	return late
}

// took notes what became of the shares of one server, and returns what is to be
// tried again because it was another one than was seen.
func (w *writing) took(group []target, r Reply) []target {
	id := group[0].server.id
	answer, ok := r.Frame.Message.(*wire.Mutated)
	if !ok {
		w.refused[id] = unexpected(r)
		return nil
	}
	if !answer.Done {
		now, ours := w.held(group, answer, r.Frame.Bytes())
		if !ours && now != nil && w.stream != nil && len(w.at) > 0 {
			w.refused[id] = errStaleStage
			return nil
		}
		if !ours {
			return now
		}
	}
	for _, t := range group {
		w.placed[t.num] = append(w.placed[t.num], id)
		w.labels[id] = t.server.label
		w.at = append(w.at, target{t.server, t.num, nil})
	}
	return nil
}

// held is what a server holds in place of what was seen there. It is ours already
// where an answer was lost. A version that is not older than ours is a conflict, and
// noted.
func (w *writing) held(group []target, answer *wire.Mutated, body []byte) (now []target, ours bool) {
	heads := map[grid.ShareNum][]byte{}
	for _, s := range answer.Shares {
		parts, rest, ok := cut(body, s.Lengths)
		if !ok {
			break
		}
		body = rest
		if len(parts) == 1 {
			heads[s.Num] = bytes.Clone(parts[0])
		}
	}
	ours = true
	for _, t := range group {
		head := heads[t.num]
		same := bytes.HasPrefix(head, w.prefix.Checkstring())
		ours = ours && same
		if seqnum := seqnumOf(head); !same && seqnum >= w.prefix.Seqnum {
			w.conflicts = append(w.conflicts, seqnum)
			return nil, false
		}
		now = append(now, target{t.server, t.num, head})
	}
	return now, ours
}

func seqnumOf(head []byte) uint64 {
	if len(head) < 9 {
		return 0
	}
	return binary.BigEndian.Uint64(head[1:9])
}

// verdict says whether the version counts: enough of its shares are durable, and
// who wrote at the same time has seen them.
func (w *writing) verdict(now time.Time) error {
	if len(w.placed) < w.prefix.Needed {
		if len(w.conflicts) > 0 {
			return &ConflictError{Clean: len(w.at) == 0}
		}
		return &UploadError{Err: &placement.TooFewServers{Happy: w.prefix.Needed, Reachable: w.happiness()}, Reasons: w.reasons()}
	}
	for _, seqnum := range w.conflicts {
		if seqnum <= w.prefix.Seqnum || now.Sub(w.begun) >= writePatience/2 {
			return &ConflictError{}
		}
	}
	return nil
}

// finish notes where the version is, for the renewer before anybody is told, and
// for what is done next with the file.
func (m *mutableFile) finish(f *flow, to *actor.PID, w *writing, err error, content []byte) {
	if err == nil {
		err = m.note(f, w)
	}
	if err != nil {
		m.forget()
		m.answer(f, to, err)
		return
	}
	m.remember(w, content)
	m.log.Info("mutable file written", "storage-index", m.cap.StorageIndex().String(), "size", w.prefix.Size, "version", w.prefix.Seqnum, "shares", len(w.at))
	m.answer(f, to, MutableWritten{Cap: m.cap, Version: w.prefix, Placement: w.placed, Happiness: w.happiness(), Labels: w.labels, LeftOut: w.left})
}

// remember makes what was written the survey of the next write.
func (m *mutableFile) remember(w *writing, content []byte) {
	m.content, m.of, m.known = nil, nil, nil
	if content != nil && len(content) <= keptContent {
		m.content, m.of = content, &w.prefix
	}
	if len(w.conflicts) > 0 {
		return
	}
	s := &survey{servers: w.found.servers}
	for _, t := range w.at {
		h := &heldShare{server: t.server, num: t.num, head: w.heads[t.num]}
		if h.share, h.err = mutable.Cut(h.head); h.err != nil {
			return
		}
		s.shares = append(s.shares, h)
		if !slices.ContainsFunc(s.servers, func(c candidate) bool { return c.id == t.server.id }) {
			s.servers = append(slices.Clip(s.servers), t.server)
		}
	}
	s.order(m.cap.StorageIndex())
	s.count()
	m.known = s
}

// note writes leases that are new into the journal.
func (m *mutableFile) note(f *flow, w *writing) error {
	if m.journal == nil {
		return nil
	}
	var fresh bool
	var leases []lease.PlacedLease
	for _, num := range slices.Sorted(maps.Keys(w.placed)) {
		for _, id := range w.placed[num] {
			l := m.placedLease(id, num, w.labels[id], 0)
			name := l
			name.Renewed = 0
			fresh = fresh || !m.noted[name]
			m.noted[name] = true
			leases = append(leases, l)
		}
	}
	if !fresh {
		return nil
	}
	return m.journalLeases(f, w.prefix.Size, leases)
}

// placedLease is one that was made now.
func (m *mutableFile) placedLease(at grid.ServerID, num grid.ShareNum, label grid.PublicKey, expires int64) lease.PlacedLease {
	id := lease.ShareID{StorageIndex: m.cap.StorageIndex(), Num: num}
	return lease.PlacedLease{Server: at, JournalLease: lease.JournalLease{Share: id, Label: label, Renewed: m.env.Clock.Now().Unix(), Expires: expires}}
}

// journalLeases has leases renewed from now on.
func (m *mutableFile) journalLeases(f *flow, size int64, leases []lease.PlacedLease) error {
	if m.journal == nil || len(leases) == 0 {
		return nil
	}
	entry := lease.JournalFile{StorageIndex: m.cap.StorageIndex(), VerifyCap: m.cap.Verifier().String(), Size: size, Stored: m.env.Clock.Now().Unix()}
	journal := m.journal
	type noted struct{ err error }
	got := do(f, env.Disk, func() noted { return noted{journal.Add(entry, leases)} })
	if got.err != nil {
		return fmt.Errorf("leases were made but could not be written into the journal, so they will not be renewed: %w", got.err)
	}
	return nil
}
