package client

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// sendAll writes to servers that do not decide. Where one of them has got an older
// version meanwhile, of who wrote before, that is what is overwritten.
func (m *mutableFile) sendAll(f *flow, w *writing, groups [][]target) {
	for tries := 0; len(groups) > 0; tries++ {
		groups = m.send(f, w, groups)
		if tries == maxSurveys {
			w.conflicts += len(groups)
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
		now, ours := w.overtaken(group, answer, r.Frame.Bytes())
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

// overtaken is what a server holds in place of what was seen there. It is ours already
// where an answer was lost. A version that is not older than ours is a conflict, and
// noted.
func (w *writing) overtaken(group []target, answer *wire.Mutated, body []byte) (now []target, ours bool) {
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
		if !same && seqnumOf(head) >= w.prefix.Seqnum {
			w.conflicts++
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
