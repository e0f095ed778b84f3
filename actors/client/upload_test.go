package client_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// wide has segments of 128 KiB, in blocks of as much: k is 1.
func wide(total, happy int) file.Params {
	return file.Params{Needed: 1, Happy: happy, Total: total, SegmentSize: 128 << 10}
}

// ready is a rig whose client is logged in everywhere.
func ready(t *testing.T, servers int) *rig {
	t.Helper()
	r := newRig(t, servers)
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	return r
}

// wantStored fails unless every share lies where it was said, as encoded, and
// the journal knows the file.
func (r *rig) wantStored(j *job, data []byte, p file.Params) {
	r.Helper()
	if j.err != nil {
		r.Fatal(j.err)
	}
	c, shares := r.encode(data, p)
	if j.stored.Cap != c.Verifier() {
		r.Fatalf("the capability is %v, not %v", j.stored.Cap, c)
	}
	for n, servers := range j.stored.Placement {
		for _, id := range servers {
			if !bytes.Equal(r.peer(id).shares[c.StorageIndex()][n], shares[n]) {
				r.Errorf("share %d at %s is another", n, id.Short())
			}
		}
	}
	file, ok, err := r.journal.File(c.StorageIndex())
	if leases := r.journalled(c.StorageIndex()); err != nil || !ok || len(j.stored.Placement) != p.Total || len(leases) < p.Total {
		r.Errorf("%d shares placed, %d leases in the journal (%v, %v)", len(j.stored.Placement), len(leases), ok, err)
	}
	if file.VerifyCap != c.Verifier().String() || file.Size != int64(len(data)) || file.Stored == 0 {
		r.Errorf("the journal says %+v", file)
	}
}

func (r *rig) peer(id grid.ServerID) *peer {
	for _, p := range r.peers {
		if p.id() == id {
			return p
		}
	}
	r.Fatalf("no server %s", id.Short())
	return nil
}

func TestSmallFileTakesOneRound(t *testing.T) {
	r := ready(t, 3)
	data := content(1000)
	j := r.put(data, wide(3, 3))
	r.finish(j, time.Second)
	r.wantStored(j, data, wide(3, 3))
	for _, p := range r.peers {
		if len(p.pulls) > 0 || p.asked[wire.KindAllocate] != 1 || p.asked[wire.KindFind] > 1 { // one Find after the login
			t.Errorf("%s saw %v", p.name, p.asked)
		}
	}
	for _, l := range r.journalled(j.stored.Cap.StorageIndex) {
		if l.Label != account(1).PublicKey(l.Server) {
			t.Errorf("the lease at %s is said to be %v's", l.Server.Short(), l.Label)
		}
	}
}

// A small file that was stored before, on other servers in part: those that
// hold some of it say so, and keep nothing more than the plan has for them.
func TestSmallFileThatIsThereInPart(t *testing.T) {
	r := ready(t, 4)
	data := content(1000)
	c, shares := r.encode(data, wide(3, 3))
	for _, p := range r.peers[:2] {
		(&peerSession{peer: p}).keep(c.StorageIndex(), 2, shares[2])
	}
	j := r.put(data, wide(3, 3))
	r.finish(j, time.Second)
	r.wantStored(j, data, wide(3, 3))
	if j.stored.Found != 1 && j.stored.Found != 2 || j.stored.Happiness != 3 {
		t.Errorf("%d found, %d pushed, happiness %d", j.stored.Found, j.stored.Pushed, j.stored.Happiness)
	}
	j = r.put(data, wide(3, 3))
	r.finish(j, time.Second)
	r.wantStored(j, data, wide(3, 3))
	if j.stored.Pushed != 0 {
		t.Errorf("%d shares pushed of a file that is there", j.stored.Pushed)
	}
}

func TestLargeFileIsPulled(t *testing.T) {
	r := ready(t, 3)
	data := content(3<<20 + 17)
	j := r.put(data, wide(3, 3))
	r.finish(j, time.Minute)
	r.wantStored(j, data, wide(3, 3))
	if last := j.progress[len(j.progress)-1]; last.Done != last.Total || last.Total != int64(len(data)) {
		t.Errorf("progress ends with %+v", last)
	}
}

func TestSharesThatAreThereAreFound(t *testing.T) {
	r := ready(t, 3)
	data := content(3 << 20)
	c, shares := r.encode(data, wide(3, 3))
	for i, p := range r.peers[:2] {
		(&peerSession{peer: p}).keep(c.StorageIndex(), grid.ShareNum(i), shares[i])
	}
	j := r.put(data, wide(3, 3))
	r.finish(j, time.Minute)
	r.wantStored(j, data, wide(3, 3))
	if j.stored.Found != 2 || j.stored.Pushed != 1 {
		t.Errorf("%d found, %d pushed", j.stored.Found, j.stored.Pushed)
	}
}

// Where nobody pulls, because all shares are there, no more is encoded than the
// hashes of the file can take in.
func TestEncodingWaitsForTheHashes(t *testing.T) {
	r := ready(t, 3)
	p := wide(3, 3)
	p.SegmentSize = 16 << 10
	data := content(8 << 20)
	c, shares := r.encode(data, p)
	for i, peer := range r.peers {
		(&peerSession{peer: peer}).keep(c.StorageIndex(), grid.ShareNum(i), shares[i])
	}
	j := r.put(data, p)
	most := 0
	r.until("the end of the upload", time.Minute, func() bool {
		most = max(most, j.source.reads-len(j.progress))
		return j.over()
	})
	r.finish(j, time.Minute)
	r.wantStored(j, data, p)
	if j.stored.Pushed != 0 || most > 8 {
		t.Errorf("%d shares were pushed, and %d segments were in memory", j.stored.Pushed, most)
	}
}

func TestWindowIsBounded(t *testing.T) {
	r := ready(t, 2)
	p := file.Params{Needed: 1, Happy: 2, Total: 2, SegmentSize: 4 << 20}
	data := content(20 << 20)
	slow := r.peers[0]
	slow.stop = 100 << 10
	j := r.put(data, p)
	r.pass(9 * time.Second)
	// Blocks are 4 MiB, and 16 MiB are held for two shares.
	if j.source.reads != 2 {
		t.Errorf("%d segments were read while nobody took the first", j.source.reads)
	}
	slow.stop = 0
	slow.pulls[0].ask()
	r.finish(j, 10*time.Minute)
	r.wantStored(j, data, p)
}

func TestLostLinkInMidPull(t *testing.T) {
	r := ready(t, 2)
	data := content(3 << 20)
	p := r.peers[0]
	p.stop = 1 << 20
	j := r.put(data, wide(2, 2))
	r.until("a megabyte", time.Minute, func() bool { return len(p.pulled[p.num()]) == 1<<20 })
	p.stop = 0
	r.net.Drop("client", p.name)
	r.finish(j, time.Minute)
	r.wantStored(j, data, wide(2, 2))
	if again := p.pulls[1].m.Secret; again != p.pulls[0].m.Secret || len(p.pulls) != 2 {
		t.Errorf("%d pulls, the second by %v", len(p.pulls), again)
	}
	seen := map[uint64]bool{}
	for _, off := range p.reads {
		if seen[off] {
			t.Errorf("%d was read twice", off)
		}
		seen[off] = true
	}
	if want := 24; j.source.reads != want {
		t.Errorf("the source was read %d times, not once for each of %d segments", j.source.reads, want)
	}
}

// num is the share that a peer was offered.
func (p *peer) num() grid.ShareNum {
	if len(p.pulls) == 0 {
		return 255
	}
	return p.pulls[0].m.Num
}

func TestServerThatStalls(t *testing.T) {
	for name, total := range map[string]int{"holds the others back": 3, "alone": 1} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, total+1)
			data := content(20 << 20)
			params := file.Params{Needed: 1, Happy: total, Total: total, SegmentSize: 1 << 20}
			var stalled *peer
			for _, p := range r.peers {
				p.instead = func(s *peerSession, f wire.Frame) bool {
					mine := f.Message.Kind() == wire.KindAllocate && stalled == nil
					if mine {
						stalled = s.peer
						s.answer(f, &wire.Allocated{State: wire.Coming})
					}
					return mine
				}
			}
			j := r.put(data, params)
			r.finish(j, 10*time.Minute)
			r.wantStored(j, data, params)
			if stalled.asked[wire.KindAbandon] != 1 {
				t.Errorf("the stalled server saw %v", stalled.asked)
			}
		})
	}
}

func TestCancelledUpload(t *testing.T) {
	r := ready(t, 2)
	for _, p := range r.peers {
		p.stop = 200 << 10
	}
	j := r.put(content(3<<20), wide(2, 2))
	r.until("some of both shares", time.Minute, func() bool {
		return len(r.peers[0].pulled[r.peers[0].num()]) > 100<<10 && len(r.peers[1].pulled[r.peers[1].num()]) > 100<<10
	})
	r.send(client.Cancel{ReplyTo: j.replyTo})
	r.pass(2 * time.Second)
	if j.over() || j.source.closed != 1 {
		t.Errorf("answered %v %v, source closed %d times", j.stored, j.err, j.source.closed)
	}
	for _, p := range r.peers {
		if p.asked[wire.KindAbandon] != 1 {
			t.Errorf("%s saw %v", p.name, p.asked)
		}
		before := len(p.pulls)
		p.sessions[0].pull(p.pulls[0].m) // the secret is worth nothing any more
		r.pass(time.Second)
		if n := len(p.pulled[p.num()]); len(p.pulls) != before+1 || n > 300<<10 {
			t.Errorf("%d bytes were pulled after all", n)
		}
	}
}

func TestJournalThatCannotBeWritten(t *testing.T) {
	r := ready(t, 1)
	r.journal.err = errors.New("the disk is full")
	j := r.put(content(1000), wide(1, 1))
	r.finish(j, time.Minute)
	if !errors.Is(j.err, r.journal.err) {
		t.Errorf("error %v", j.err)
	}
}

func TestSourceThatCannotBeRead(t *testing.T) {
	for name, size := range map[string]int{"small": 1000, "large": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, 1)
			broken := errors.New("a bad sector")
			j := r.put(content(size), wide(1, 1))
			j.source.fails = broken
			if size == 1000 {
				j.source.Reader = bytes.NewReader(nil) // at its end at once
				r.finish(j, time.Minute)
				if j.err == nil || !strings.Contains(j.err.Error(), "read the file") {
					t.Errorf("error %v", j.err)
				}
				return
			}
			r.finish(j, time.Minute)
			if !errors.Is(j.err, broken) || r.peers[0].asked[wire.KindAbandon] != 1 {
				t.Errorf("error %v; the server saw %v", j.err, r.peers[0].asked)
			}
		})
	}
}

func TestTooFewServersForAnUpload(t *testing.T) {
	r := ready(t, 2)
	j := r.put(content(1000), wide(3, 3))
	r.finish(j, time.Minute)
	var few *placement.TooFewServers
	if !errors.As(j.err, &few) || r.peers[0].asked[wire.KindAllocate] != 0 {
		t.Errorf("error %v", j.err)
	}
}

func TestServerActorFailsDuringAnUpload(t *testing.T) {
	r := ready(t, 3)
	data := content(6 << 20)
	failed := 0
	r.world.Inject = func(id string, msg any) bool {
		_, call := msg.(client.Call)
		hit := strings.Contains(id, "/server/") && (call && failed == 0 || failed == 1 && r.pulled() > 4<<20)
		if hit {
			failed++
		}
		return hit
	}
	p := file.Params{Needed: 1, Happy: 2, Total: 3, SegmentSize: 128 << 10}
	j := r.put(data, p)
	r.finish(j, 5*time.Minute)
	if failed != 2 {
		t.Fatalf("%d failures", failed)
	}
	r.wantStored(j, data, p)
}

// pulled is how many bytes of all shares have come.
func (r *rig) pulled() (n int) {
	for _, p := range r.peers {
		for _, share := range p.pulled {
			n += len(share)
		}
	}
	return n
}

func TestBrokerFailsBeforeAnUpload(t *testing.T) {
	r := ready(t, 3)
	failed := false
	r.world.Inject = func(id string, _ any) bool {
		hit := !failed && strings.HasSuffix(id, "/broker")
		failed = failed || hit
		return hit
	}
	data := content(1000)
	j := r.put(data, wide(3, 3))
	r.finish(j, time.Minute)
	r.wantStored(j, data, wide(3, 3))
	for _, p := range r.peers {
		if len(p.sessions) != 1 {
			t.Errorf("%s lost its connection", p.name)
		}
	}
}

func TestUploadActorThatFails(t *testing.T) {
	r := ready(t, 2)
	r.peers[0].stop, r.peers[1].stop = 100<<10, 100<<10
	j := r.put(content(3<<20), wide(2, 2))
	r.pass(time.Second)
	failed := false
	r.world.Inject = func(id string, _ any) bool {
		hit := !failed && strings.Contains(id, "/upload/")
		failed = failed || hit
		return hit
	}
	r.finish(j, time.Minute)
	if !errors.Is(j.err, client.ErrInterrupted) || r.peers[0].asked[wire.KindAbandon] != 1 {
		t.Errorf("error %v; a server saw %v", j.err, r.peers[0].asked)
	}
}

// A hostile server can neither make the upload remember any number of reads
// nor have it serve what is not there.
func TestHostileReads(t *testing.T) {
	r := ready(t, 2)
	bad := r.peers[0]
	bad.stop = 1
	data := content(3 << 20)
	j := r.put(data, wide(2, 2))
	r.until("a pull", time.Minute, func() bool { return len(bad.pulls) == 1 })
	first := bad.pulls[0]
	r.pass(time.Second)
	reads := []wire.ReadOffer{{Offset: first.m.Size, Length: 1}, {Offset: first.m.Size - 1, Length: 2}}
	for i := range reads {
		first.id++
		first.conv.Send(wire.Frame{ID: first.id, Message: &reads[i]})
	}
	r.pass(time.Second)
	if first.err == nil || first.err.Code != wire.BadRequest {
		t.Errorf("answered by %v", first.err)
	}
	for range 20 { // each begins anew, and the one before ends
		bad.sessions[0].pull(first.m)
		r.pass(50 * time.Millisecond)
	}
	for i, p := range bad.pulls {
		if p.over == (i == len(bad.pulls)-1) {
			t.Errorf("conversation %d of %d ended: %v", i, len(bad.pulls), p.over)
		}
	}
	for _, n := range []grid.ShareNum{0, 1, 200} { // stored, it says
		bad.sessions[0].conv.Send(wire.Frame{Message: &wire.Stored{StorageIndex: first.m.StorageIndex, Num: n}})
	}
	r.finish(j, 10*time.Minute)
	var failed *client.UploadError
	if !errors.As(j.err, &failed) || !errors.Is(failed.Reasons[bad.id()], transfer.ErrOtherFile) {
		t.Errorf("error %v", j.err)
	}
}
