package client_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// readers is a grid of eight servers, each with a share of a file two of which give
// it back. A reader asks four of them at first.
type readers struct {
	*rig
	params   file.Params
	old, now [][]byte // all shares of two versions
	first    []int    // the peers that are asked at first
}

var oldContent, nowContent = content(500), content(900)

func openReaders(t *testing.T) *readers {
	g := &readers{rig: ready(t, 8), params: params(2, 8, mutable.DefaultSegmentSize)}
	g.params.Happy = 6
	for seqnum, data := range [][]byte{oldContent, nowContent} {
		l, err := mutable.NewLayout(mutable.SDMF, int64(len(data)), g.params)
		g.must(err)
		_, shares, err := mutable.Encode(l, mutableKey(), uint64(seqnum+1), data, zeros{})
		g.must(err)
		g.old, g.now = g.now, shares
	}
	for n := range g.peers {
		g.put(n, g.now)
	}
	g.pass(time.Second) // servers are asked for their room
	if got := g.read(); !bytes.Equal(got, nowContent) {
		t.Fatalf("read %d bytes", len(got))
	}
	return g
}

// put has a peer hold its share of a version, and nothing else.
func (g *readers) put(peer int, shares [][]byte) {
	delete(g.peers[peer].shares, g.si())
	if shares != nil {
		g.hold(mutable.SDMF, peer, grid.ShareNum(peer), shares[peer])
	}
}

func (g *readers) si() grid.StorageIndex { return mutableKey().Capability(mutable.SDMF).StorageIndex() }

// read reads the file, and notes who was asked.
func (g *readers) read() []byte {
	g.Helper()
	before := g.finds()
	var got []byte
	var end any
	g.send(client.ReadMutable{
		Cap: mutableKey().Capability(mutable.SDMF), Length: -1, Credit: 100, Params: g.params,
		ReplyTo: g.inbox(func(m any) {
			switch m := m.(type) {
			case client.Piece:
				got = append(got, m.Data...)
			case client.RangeEnd, error:
				end = m
			}
		}),
	})
	g.until("the end of the file", time.Minute, func() bool { return end != nil })
	if err, ok := end.(error); ok {
		g.Fatal(err)
	}
	g.first = nil
	for n, count := range g.finds() {
		if count > before[n] {
			g.first = append(g.first, n)
		}
	}
	slices.Sort(g.first)
	return got
}

// finds is how often each peer was asked what it holds.
func (g *readers) finds() map[int]int {
	all := map[int]int{}
	for n, p := range g.peers {
		all[n] = p.asked[wire.KindFind]
	}
	return all
}

// Who reads asks as few as are enough where they agree, and all where one of them
// says anything else.
func TestReaderAsksMoreWhereFewDisagree(t *testing.T) {
	cases := map[string]func(g *readers, peer int){
		"an older version": func(g *readers, peer int) { g.put(peer, g.old) },
		"no share":         func(g *readers, peer int) { g.put(peer, nil) },
		"a damaged share": func(g *readers, peer int) {
			g.put(peer, g.now)
			g.peers[peer].shares[g.si()][grid.ShareNum(peer)][20] ^= 1
		},
		"a refusal": func(g *readers, peer int) {
			g.peers[peer].instead = func(s *peerSession, f wire.Frame) bool {
				_, find := f.Message.(*wire.Find)
				if find {
					s.answer(f, wire.NewError(wire.NotPermitted, "no"))
				}
				return find
			}
		},
		"nothing": func(g *readers, peer int) {
			g.peers[peer].instead = func(_ *peerSession, f wire.Frame) bool { _, find := f.Message.(*wire.Find); return find }
		},
	}
	for name, odd := range cases {
		t.Run(name, func(t *testing.T) {
			for i := range 4 {
				g := openReaders(t)
				if len(g.first) != 4 {
					t.Fatalf("%d servers were asked that agree", len(g.first))
				}
				odd(g, g.first[i])
				if got := g.read(); !bytes.Equal(got, nowContent) || len(g.first) != 8 {
					t.Errorf("the %d. of the first: read %d bytes, and asked %d", i+1, len(got), len(g.first))
				}
			}
		})
	}
}

// All that are asked at first show an older version than this node has met, an hour
// ago: so all others are asked.
func TestReaderIsNotRolledBack(t *testing.T) {
	g := openReaders(t)
	g.pass(time.Hour)
	for _, n := range g.first {
		g.put(n, g.old)
	}
	if got := g.read(); !bytes.Equal(got, nowContent) || len(g.first) != 8 {
		t.Errorf("read %d bytes, and asked %d", len(got), len(g.first))
	}
}

// Where no server has what was seen before, what there is is read all the same.
func TestReaderOfAnOlderVersionThanBefore(t *testing.T) {
	g := openReaders(t)
	for n := range g.peers {
		g.put(n, g.old)
	}
	if got := g.read(); !bytes.Equal(got, oldContent) || len(g.first) != 8 {
		t.Errorf("read %d bytes, and asked %d", len(got), len(g.first))
	}
}
