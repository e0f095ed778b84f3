package client

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// survey is what servers hold of a mutable file.
type survey struct {
	servers  []candidate // all that are connected, in the order of the file
	asked    int         // how many of them
	silent   []LeftOut   // of those, who gave no answer
	shares   []*heldShare
	versions []mutable.Version // the newest first
}

// heldShare is a share at a server.
type heldShare struct {
	server candidate
	num    grid.ShareNum
	head   []byte // the first surveySize bytes, or all
	share  mutable.Share
	err    error // why it is no share of the file
	// tree is the block hash tree with the share's hash chain, once it is proven.
	blocks *mutable.Blocks
	failed error // why it did not give what it should have
	unread bool  // err is why it could not be read, and says nothing of what it is
}

// lose notes that a share can't be read.
func (h *heldShare) lose(err error) { h.err, h.unread = err, true }

// checkstringSize is how much of a share a writer wants to be unchanged: it says
// which version it is of.
const checkstringSize = 57

// seen is what a writer has the server compare.
func (h *heldShare) seen() []byte { return h.head[:min(len(h.head), checkstringSize)] }

// candidates are the servers that are connected, or of those only the ones that
// store something for us, as c says.
func (m *mutableFile) candidates(f *flow, c candidates) candidateList {
	c.replyTo, c.si = f.ctx.Self(), m.cap.StorageIndex()
	patience := 2 * settleTime
	if c.patient {
		patience += patientTime
	}
	for {
		f.ctx.Send(m.broker, c)
		t := f.timer(patience) // the broker may have failed and forgotten us
		for again := false; !again; {
			switch msg := f.wait().(type) {
			case candidateList:
				return msg
			case flowTimer:
				again = msg.tag == t
			default:
				f.letGo()
			}
		}
	}
}

// survey asks what servers hold: first those that come first in the order of the
// file, all others if those have too little. Who writes waits a while for each of
// them, who reads only until there is a version that can be read, and asks few at
// first.
func (m *mutableFile) survey(f *flow, p file.Params, writing bool) *survey {
	few, most := 0, p.Total+p.Needed
	want, patience := p.Happy, surveyPatience
	if !writing {
		few, want, patience = fewServers(p), p.Needed, hedgeTime
	}
	s := &survey{servers: m.candidates(f, candidates{want: want}).servers}
	if few > 0 {
		m.askHolders(f, s, s.next(few), patience, plausible)
		if s.agree(m.newest) {
			m.saw(f, s.versions[0].Seqnum)
			return s
		}
	}
	for first := most; ; first = len(s.servers) {
		m.askHolders(f, s, s.next(first), patience, plausible)
		best, err := mutable.Best(s.versions)
		if err == nil {
			m.saw(f, best.Seqnum)
		}
		if err == nil || s.asked == len(s.servers) {
			return s
		}
	}
}

// fewServers is how many a reader asks at first: as many as Tahoe-LAFS, and so many
// that of a version which is on as many servers as its writer wanted they have
// enough shares.
func fewServers(p file.Params) int { return max(2*p.Needed, p.Total-p.Happy+p.Needed) }

// next are the servers to ask so that the first n have been.
func (s *survey) next(n int) []candidate {
	some := s.servers[s.asked:max(s.asked, min(n, len(s.servers)))]
	s.asked += len(some)
	return some
}

// agree reports whether all who were asked hold good shares of one version that can
// be read and is no older than one that was seen before: then others are not asked.
func (s *survey) agree(newest uint64) bool {
	best, err := mutable.Best(s.versions)
	if err != nil || len(s.versions) != 1 || best.Seqnum < newest {
		return false
	}
	holders := map[grid.ServerID]bool{}
	for _, h := range s.shares {
		if h.err != nil {
			return false
		}
		holders[h.server.id] = true
	}
	return len(holders) == s.asked
}

// askHolders asks some servers and proves what they say. After a while, what has
// come may be enough.
func (m *mutableFile) askHolders(f *flow, s *survey, some []candidate, patience time.Duration, enough func([]candidate, []*asked) bool) {
	var all []*asked
	for _, c := range some {
		find := &wire.Find{StorageIndex: m.cap.StorageIndex(), Ranges: []wire.Range{{Length: surveySize}}}
		all = append(all, f.ask(c.pid, Call{Frame: wire.Frame{Message: find}}))
	}
	f.gather(all, patience, func(late bool) bool {
		return late && enough(some, all)
	})
	f.leave(all)
	var found []*heldShare
	for i, a := range all {
		if a.reply == nil {
			s.silent = append(s.silent, LeftOut{some[i].id, some[i].name, ErrNoAnswer})
			continue
		}
		if _, ok := a.reply.Frame.Message.(*wire.Found); !ok {
			s.silent = append(s.silent, LeftOut{some[i].id, some[i].name, unexpected(*a.reply)})
		}
		for _, h := range holdings(some[i], *a.reply) {
			h.head = bytes.Clone(h.head)
			found = append(found, h)
		}
		a.reply.Frame.Release()
	}
	m.readHeads(f, found)
	s.shares = append(s.shares, m.prove(f, found)...)
	s.count()
}

// holdings are the shares of one answer; their bytes are the frame's.
func holdings(c candidate, r Reply) (list []*heldShare) {
	f, ok := r.Frame.Message.(*wire.Found)
	if !ok {
		return nil
	}
	body := r.Frame.Bytes()
	seen := map[grid.ShareNum]bool{}
	for _, s := range f.Shares {
		parts, rest, ok := cut(body, s.Lengths)
		if !ok || len(parts) > 1 || seen[s.Num] {
			return list
		}
		body, seen[s.Num] = rest, true
		h := &heldShare{server: c, num: s.Num}
		if len(parts) == 1 {
			h.head = parts[0]
		}
		list = append(list, h)
	}
	return list
}

// plausible reports whether the answers so far may have a version that can be read;
// nothing is proven yet.
func plausible(some []candidate, all []*asked) bool {
	var found []*heldShare
	for i, a := range all {
		if a.reply != nil {
			found = append(found, holdings(some[i], *a.reply)...)
		}
	}
	nums := map[string]map[grid.ShareNum]bool{}
	for _, h := range found {
		header, err := mutable.ParseHeader(h.head)
		if err != nil {
			continue
		}
		version := string(header.Prefix.Encode())
		if nums[version] == nil {
			nums[version] = map[grid.ShareNum]bool{}
		}
		nums[version][h.num] = true
		if len(nums[version]) >= header.Needed {
			return true
		}
	}
	return false
}

// readHeads reads the beginnings for which there was no room.
func (m *mutableFile) readHeads(f *flow, found []*heldShare) {
	var all []*asked
	var of []*heldShare
	for _, h := range found {
		if h.head == nil {
			read := &wire.Read{StorageIndex: m.cap.StorageIndex(), Num: h.num, Ranges: []wire.Range{{Length: surveySize}}}
			all, of = append(all, f.ask(h.server.pid, Call{Frame: wire.Frame{Message: read}})), append(of, h)
		}
	}
	f.gather(all, 0, nil)
	for i, a := range all {
		if _, ok := a.reply.Frame.Message.(*wire.Data); ok {
			of[i].head = bytes.Clone(a.reply.Frame.Bytes())
		} else {
			of[i].lose(unexpected(*a.reply))
		}
		a.reply.Frame.Release()
	}
}

// prove finds out of which version each share is. A version is proven once.
func (m *mutableFile) prove(f *flow, found []*heldShare) []*heldShare {
	if len(found) == 0 {
		return nil
	}
	c := m.cap
	do(f, env.CPU, func() bool {
		proven := map[mutable.Prefix]bool{}
		for _, h := range found {
			if h.unread {
				continue
			}
			h.share, h.err = mutable.Cut(h.head)
			if h.err == nil && !proven[h.share.Header.Prefix] {
				h.err = h.share.VerifyVersion(c)
			}
			if h.err == nil && int(h.num) >= h.share.Header.Total {
				h.err = fmt.Errorf("%w: number %d of %d", mutable.ErrShare, h.num, h.share.Header.Total)
			}
			if h.err == nil {
				proven[h.share.Header.Prefix] = true
			}
		}
		return true
	})
	for _, h := range found {
		if h.err != nil {
			m.log.Warn("bad share", "server", h.server.id.Short(), "storage-index", m.cap.StorageIndex().String(), "share", h.num, "error", h.err)
		}
	}
	return found
}

func (s *survey) count() {
	var found []mutable.Found
	for _, h := range s.shares {
		if h.err == nil {
			found = append(found, mutable.Found{Prefix: h.share.Header.Prefix, Share: h.num})
		}
	}
	s.versions = mutable.Versions(found)
}

// order puts the servers in the order of the file.
func (s *survey) order(si grid.StorageIndex) {
	byID := map[grid.ServerID]candidate{}
	var list []placement.Candidate
	for _, c := range s.servers {
		byID[c.id] = c
		list = append(list, placement.Candidate{ID: c.id, Seed: c.announcement.PermutationSeed})
	}
	s.servers = nil
	for _, c := range placement.Permute(si, list) {
		s.servers = append(s.servers, byID[c.ID])
	}
}

// bytes is about how much it takes of memory.
func (s *survey) bytes() (n int64) {
	for _, h := range s.shares {
		n += int64(len(h.head))
	}
	return n
}

// of are the shares of a version.
func (s *survey) of(p mutable.Prefix) (list []*heldShare) {
	for _, h := range s.shares {
		if h.err == nil && h.share.Header.Prefix == p {
			list = append(list, h)
		}
	}
	return list
}

// best is the version that is read. The error says who gave no answer.
func (s *survey) best() (mutable.Version, error) {
	v, err := mutable.Best(s.versions)
	if err == nil || len(s.silent) == 0 {
		return v, err
	}
	reasons := map[grid.ServerID]error{}
	for _, l := range s.silent {
		reasons[l.Server] = l.Err
	}
	return v, &UploadError{Err: err, Reasons: reasons}
}

// unfinished reports whether a version that is newer than the best one is not
// there yet: somebody is writing it, or has given up.
func (s *survey) unfinished() bool {
	v, err := mutable.Best(s.versions)
	return err == nil && len(s.versions) > 0 && s.versions[0].Prefix != v.Prefix && s.versions[0].Seqnum > v.Seqnum
}

// torn reports whether a server that comes before the first holder of the best
// version held an older one. Who wrote that version began with the first holder of
// the version before: so either that server was asked before, and the others after,
// and has it by now, or it was not there when that was written.
func (s *survey) torn() bool {
	v, err := mutable.Best(s.versions)
	if err != nil {
		return false
	}
	for _, c := range s.servers {
		older := false
		for _, h := range s.shares {
			switch {
			case h.server.id != c.id || h.err != nil:
			case h.share.Header.Prefix == v.Prefix:
				return false
			default:
				older = true
			}
		}
		if older {
			return true
		}
	}
	return false
}

// errOverwritten means that shares are not of the version any more that they were of.
var errOverwritten = errors.New("shares are not as they were any more")

// sections fetches parts of a share, as many calls as that takes.
type fetch struct {
	of       *heldShare
	sections []mutable.Section
	asked    []*asked
	ranges   [][]wire.Range
}

func (m *mutableFile) fetch(f *flow, h *heldShare, sections []mutable.Section) *fetch {
	t := &fetch{of: h, sections: sections}
	for _, ranges := range inReads(sections) {
		read := &wire.Read{StorageIndex: m.cap.StorageIndex(), Num: h.num, Ranges: ranges}
		t.asked = append(t.asked, f.ask(h.server.pid, Call{Frame: wire.Frame{Message: read}}))
		t.ranges = append(t.ranges, ranges)
	}
	return t
}

// inReads cuts sections into what one Read may ask for each.
func inReads(sections []mutable.Section) (all [][]wire.Range) {
	var now []wire.Range
	left := int64(wire.MaxRead)
	for _, s := range sections {
		for s.Len() > 0 {
			if left == 0 || len(now) == wire.MaxRanges {
				all, now, left = append(all, now), nil, wire.MaxRead
			}
			n := min(s.Len(), left)
			now = append(now, wire.Range{Offset: uint64(s.Off), Length: uint64(n)})
			s.Off, left = s.Off+n, left-n
		}
	}
	if len(now) > 0 {
		all = append(all, now)
	}
	return all
}

func (t *fetch) complete() bool {
	return !slices.ContainsFunc(t.asked, (*asked).open)
}

// bytes are those of each section, once all is there.
func (t *fetch) bytes() ([][]byte, error) {
	var all []byte
	for i, a := range t.asked {
		data, ok := a.reply.Frame.Message.(*wire.Data)
		if !ok {
			return nil, unexpected(*a.reply)
		}
		parts, rest, ok := cut(a.reply.Frame.Bytes(), data.Lengths)
		if !ok || len(rest) > 0 || len(parts) != len(t.ranges[i]) {
			return nil, errAnswer
		}
		for j, p := range parts {
			if uint64(len(p)) != t.ranges[i][j].Length {
				return nil, fmt.Errorf("%w: it is shorter than it says", mutable.ErrShare)
			}
			all = append(all, p...)
		}
	}
	parts := make([][]byte, len(t.sections))
	for i, s := range t.sections {
		parts[i], all = all[:s.Len():s.Len()], all[s.Len():]
	}
	return parts, nil
}

func (t *fetch) release() {
	for _, a := range t.asked {
		if a.reply != nil {
			a.reply.Frame.Release()
		}
	}
}
