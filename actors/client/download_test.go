package client_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// storedAt puts share n of a file at the n-th server.
func (r *rig) storedAt(data []byte, p file.Params) file.CHK {
	r.Helper()
	c, shares := r.encode(data, p)
	for i, peer := range r.peers {
		if i < len(shares) {
			(&peerSession{peer: peer}).keep(c.StorageIndex(), grid.ShareNum(i), shares[i])
		}
	}
	return c
}

func params(k, n int, segment int64) file.Params {
	return file.Params{Needed: k, Happy: 1, Total: n, SegmentSize: segment}
}

func TestRanges(t *testing.T) {
	for name, p := range map[string]file.Params{
		"segments of 128 KiB, not as guessed": params(2, 4, 128<<10),
		"segments of 1 MiB":                   params(2, 4, 1<<20),
		"segments of 4 MiB, not as guessed":   params(3, 4, 4<<20),
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 4)
			data := content(5<<20 + 3)
			size := int64(len(data))
			f := r.open(r.storedAt(data, p))
			for _, w := range [][2]int64{{size - 10, 10}, {0, size}, {0, 1}, {1<<20 - 1, 2}, {100, 0}, {128<<10 - 5, 300 << 10}, {size, 0}, {0, 1}} {
				r.readAll(f, data, w[0], w[1])
			}
		})
	}
}

func TestSmallFileIsReadInOneRound(t *testing.T) {
	r := ready(t, 3)
	data := content(1000)
	f := r.open(r.storedAt(data, params(2, 3, 1<<20)))
	r.readAll(f, data, 0, 1000)
	for _, p := range r.peers {
		if p.asked[wire.KindRead] != 0 {
			t.Errorf("%s was asked to read after Find had it all", p.name)
		}
	}
}

// readsOf counts the reads of a server.
func (p *peer) readsOf() int { return p.asked[wire.KindRead] }

func TestCorruptBlockIsReplaced(t *testing.T) {
	r := ready(t, 3)
	data := content(3 << 20)
	c := r.storedAt(data, params(2, 3, 128<<10))
	bad := r.peers[0].shares[c.StorageIndex()][0]
	bad[len(bad)/2] ^= 1
	// The others are slow, so that the bad one is preferred.
	r.net.SetLatency("client", r.peers[1].name, 60*time.Millisecond, 0)
	r.net.SetLatency("client", r.peers[2].name, 60*time.Millisecond, 0)
	f := r.open(c)
	r.readAll(f, data, 0, int64(len(data)))
	before := r.peers[0].readsOf()
	if before == 0 {
		t.Fatal("the bad share was never asked for")
	}
	r.readAll(f, data, 0, int64(len(data)))
	if r.peers[0].readsOf() != before {
		t.Error("a share that was found bad is used again")
	}
}

func TestTwoServersWithTheSameShare(t *testing.T) {
	for name, spoil := range map[string]func(*peer, []byte){
		"one stops answering": func(p *peer, _ []byte) {
			p.instead = func(_ *peerSession, f wire.Frame) bool { return p.readsOf() > 3 && f.Message.Kind() == wire.KindRead }
		},
		"one is bad in the middle": func(_ *peer, share []byte) { share[len(share)/2] ^= 1 },
		"one has another header":   func(_ *peer, share []byte) { share[15] ^= 1 },
		"one has other hashes":     func(_ *peer, share []byte) { share[len(share)-800] ^= 1 },
		"both are good":            func(*peer, []byte) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 2)
			data := content(3 << 20)
			c, shares := r.encode(data, params(1, 1, 128<<10))
			for _, p := range r.peers {
				(&peerSession{peer: p}).keep(c.StorageIndex(), 0, bytes.Clone(shares[0]))
			}
			spoil(r.peers[0], r.peers[0].shares[c.StorageIndex()][0])
			r.net.SetLatency("client", r.peers[1].name, 40*time.Millisecond, 0)
			r.readAll(r.open(c), data, 0, int64(len(data)))
		})
	}
}

func TestSlowServerIsReplaced(t *testing.T) {
	r := ready(t, 3)
	data := content(3 << 20)
	c := r.storedAt(data, params(2, 3, 128<<10))
	slow := r.peers[0]
	slow.instead = func(_ *peerSession, f wire.Frame) bool {
		return slow.readsOf() > 2 && f.Message.Kind() == wire.KindRead
	}
	f := r.open(c)
	r.read(f, 0, int64(len(data)), 2)
	r.until("all of it", 10*time.Second, func() bool { return f.ended })
	if !bytes.Equal(f.data, data) {
		t.Error("it is another file")
	}
}

func TestStalledConsumerBoundsWhatIsFetched(t *testing.T) {
	r := ready(t, 2)
	data := content(6 << 20)
	c := r.storedAt(data, params(1, 2, 128<<10))
	f := r.open(c)
	f.hold = true
	r.read(f, 0, int64(len(data)), 3)
	r.pass(time.Minute)
	reads := r.peers[0].readsOf() + r.peers[1].readsOf()
	if f.pieces != 3 || reads > 24 {
		t.Errorf("%d pieces came of 3, with %d reads", f.pieces, reads)
	}
	r.world.Sys.Send(f.pid, client.MorePieces{Count: 1000})
	r.until("the rest", time.Minute, func() bool { return f.ended })
	if !bytes.Equal(f.data, data) {
		t.Error("it is another file")
	}
}

func TestSeekingWhileSegmentsAreOnTheirWay(t *testing.T) {
	r := ready(t, 3)
	data := content(6 << 20)
	f := r.open(r.storedAt(data, params(2, 3, 128<<10)))
	for i := range int64(60) {
		offset := (i * 7919 << 10) % (5 << 20)
		r.read(f, offset, 1<<20, 2)
		r.pass(time.Duration(i%9) * 5 * time.Millisecond)
	}
	r.readAll(f, data, 0, int64(len(data)))
}

func TestNotEnoughShares(t *testing.T) {
	r := ready(t, 3)
	data := content(3 << 20)
	c := r.storedAt(data, params(2, 3, 128<<10))
	hidden := r.peers[1].shares
	r.peers[1].shares, r.peers[2].shares = nil, nil
	f := r.open(c)
	r.read(f, 0, 100, 2)
	r.until("the end", time.Minute, func() bool { return f.ended || f.err != nil })
	var few *transfer.NotEnoughShares
	if !errors.As(f.err, &few) || few.Found != 1 || few.Needed != 2 {
		t.Fatalf("error %v", f.err)
	}
	r.peers[1].shares = hidden // it is back: the same open file can be read
	r.readAll(f, data, 0, int64(len(data)))
}

func TestSharesThatVanish(t *testing.T) {
	r := ready(t, 3)
	data := content(3 << 20)
	c := r.storedAt(data, params(2, 3, 128<<10))
	f := r.open(c)
	r.readAll(f, data, 0, 1)
	r.peers[0].shares = nil
	r.readAll(f, data, 0, int64(len(data)))
}

func TestServerActorFailsDuringADownload(t *testing.T) {
	r := ready(t, 3)
	data := content(3 << 20)
	f := r.open(r.storedAt(data, params(3, 3, 128<<10)))
	r.readAll(f, data, 0, 1)
	lost := false
	r.world.Inject = func(_ string, msg any) bool {
		_, call := msg.(client.Call)
		hit := call && !lost
		lost = lost || hit
		return hit
	}
	// All three are needed, and one request is lost with its server actor: the
	// others that wait there fail, and everybody is asked anew.
	r.readAll(f, data, 1<<20, 1<<20)
	if !lost {
		t.Error("nothing failed")
	}
}

// A request that is lost inside of the node, with nothing after it to show
// that, is given up in the end.
func TestLastRequestIsLost(t *testing.T) {
	r := ready(t, 1)
	data := content(100 << 10)
	f := r.open(r.storedAt(data, params(1, 1, 128<<10)))
	lost := false
	r.world.Inject = func(_ string, msg any) bool {
		_, call := msg.(client.Call)
		hit := call && !lost
		lost = lost || hit
		return hit
	}
	r.read(f, 0, 10, 2)
	r.until("an error", 2*time.Minute, func() bool { return f.err != nil })
	var few *transfer.NotEnoughShares
	if !errors.As(f.err, &few) || !errors.Is(few.Reasons[r.peers[0].id()], transfer.ErrSilent) {
		t.Errorf("error %v", f.err)
	}
	r.readAll(f, data, 0, int64(len(data)))
}

func TestClosedFileAsksNothingMore(t *testing.T) {
	r := ready(t, 2)
	data := content(6 << 20)
	f := r.open(r.storedAt(data, params(1, 2, 128<<10)))
	r.read(f, 0, int64(len(data)), 2)
	r.until("a piece", time.Minute, func() bool { return f.pieces > 0 })
	r.world.Sys.Send(f.pid, client.CloseFile{})
	r.pass(time.Second)
	reads, pieces := r.peers[0].readsOf()+r.peers[1].readsOf(), f.pieces
	r.pass(time.Minute)
	if n := r.peers[0].readsOf() + r.peers[1].readsOf(); n != reads || f.pieces != pieces || f.ended {
		t.Errorf("%d reads after the end", n-reads)
	}
}

func TestDownloadActorThatFails(t *testing.T) {
	r := ready(t, 2)
	data := content(3 << 20)
	f := r.open(r.storedAt(data, params(1, 2, 128<<10)))
	failed := false
	r.world.Inject = func(_ string, msg any) bool {
		_, reply := msg.(client.Reply)
		hit := reply && !failed
		failed = failed || hit
		return hit
	}
	r.read(f, 0, 100, 2)
	r.until("an error", time.Minute, func() bool { return f.err != nil })
	if !errors.Is(f.err, client.ErrInterrupted) {
		t.Errorf("error %v", f.err)
	}
	r.readAll(f, data, 0, int64(len(data)))
}

// A range that was given up says so once more when a next one has begun; that
// ends only itself.
func TestLateStopEndsNoLaterRange(t *testing.T) {
	r := ready(t, 3)
	data := content(400_000)
	f := r.open(r.storedAt(data, params(2, 3, 128<<10)))
	given := r.inbox(func(any) {})
	r.world.Sys.Send(f.pid, client.ReadRange{ReplyTo: given, Length: 10, Credit: 1})
	r.read(f, 0, int64(len(data)), 2)
	r.world.Sys.Send(f.pid, client.StopReading{ReplyTo: given})
	r.until("the end of the later range", time.Minute, func() bool { return f.ended || f.err != nil })
	if f.err != nil || !bytes.Equal(f.data, data) {
		t.Errorf("%d bytes, %v", len(f.data), f.err)
	}
}
