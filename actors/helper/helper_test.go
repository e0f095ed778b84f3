package helper_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

const size = 100_000

func TestFileIsPlaced(t *testing.T) {
	r := newRig(t, 3)
	u := r.newUpload(1, 1, size)
	p := r.dial()
	p.wants(u, 0)
	if s := r.status(); s.Jobs != 1 || s.Spooled < size {
		t.Errorf("while it comes: %+v", s)
	}
	r.wantStored(1, u, p.sendAll(u, 0))
	r.settled(0)
	if h, ok := r.dial().do(u.AskHelp).(*wire.Helped); !ok || h.State != wire.HelpDone || h.UEBHash != r.ueb(u) {
		t.Errorf("asked again: %+v", h)
	}
	if p.closed {
		t.Error("the connection was closed when the file was done, perhaps before that was told")
	}
}

// A file is logged in for once at each server, however long it takes and however
// often it is asked for.
func TestLoginsPerFile(t *testing.T) {
	r := newRig(t, 3)
	const files = 4
	for n := range byte(files) {
		u := r.newUpload(1, n, size)
		p := r.dial()
		p.wants(u, 0)
		r.pass(time.Minute) // connections that nobody uses are let go
		p.part(u, 0, size/2)
		p.session.Close()
		r.pass(20 * time.Minute) // the job is, too
		p = r.dial()
		p.wants(u, size/2)
		r.wantStored(1, u, p.sendAll(u, size/2))
		u.Anew = true
		r.pass(time.Minute)
		r.dial().wants(u, 0)
	}
	for _, s := range r.servers {
		if s.logins != files || s.resumes < files {
			t.Errorf("%d files: %d logins at %s, %d times with a reference", files, s.logins, s.name, s.resumes)
		}
	}
}

func TestGoesOnAfterBothSidesFailed(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, 30_000)
	p.part(u, 30_000, 40_000)
	p.session.Close()
	p = r.dial()
	p.wants(u, 40_000)
	p.part(u, 40_000, 50_000)
	r.restart(bytes.Clone)
	if s := r.status(); s.Jobs != 0 || s.Spooled < 50_000 || s.Spooled > size {
		t.Errorf("after the restart: %+v", s)
	}
	p = r.dial()
	p.wants(u, 50_000)
	r.wantStored(1, u, p.sendAll(u, 50_000))
	r.settled(0)
}

// A power failure may leave another ciphertext: what comes of it is told as it
// is, and the client has the helper begin anew.
func TestBeginsAnew(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, 50_000)
	r.restart(func(b []byte) []byte { return make([]byte, len(b)) })
	p = r.dial()
	p.wants(u, 50_000)
	p.part(u, 50_000, size)
	if h := p.done(); h.UEBHash == r.ueb(u) {
		t.Error("the hash of another file")
	}
	for _, s := range r.servers { // who would hold its shares
		clear(s.shares)
	}
	p.notices, u.Anew = nil, true
	p.wants(u, 0)
	r.wantStored(1, u, p.sendAll(u, 0))
	r.settled(0)

	other := r.newUpload(1, 2, size) // in the middle, too
	p = r.dial()
	p.wants(other, 0)
	p.part(other, 0, 10_000)
	p.session.Close()
	r.restart(bytes.Clone)
	other.Anew = true
	r.dial().wants(other, 0)
}

// The helper is killed while servers take the shares: all of the ciphertext is
// there, and who asks again need not send it.
func TestKilledWhilePlacing(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	for _, s := range r.servers {
		s.slow = time.Minute
	}
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, size)
	r.pass(10 * time.Second)
	r.restart(bytes.Clone)
	p = r.dial()
	if h, ok := p.do(u.AskHelp).(*wire.Helped); !ok || h.State != wire.HelpPlaces || h.Have != size {
		t.Fatalf("asked again: %+v", h)
	}
	if h := p.done(); h.State != wire.HelpDone || h.UEBHash != r.ueb(u) || h.Pushed+h.Found != 2 {
		t.Errorf("%+v", h)
	}
	r.settled(0)
}

// While servers are slow the client is told that the helper lives, and how far
// it is; one that went away is not waited for.
func TestPlacesWithoutTheClient(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	for _, s := range r.servers {
		s.slow = 25 * time.Second
	}
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, size)
	r.pass(12 * time.Second)
	if len(p.notices) != 1 || !isLifeSign(p.notices[0]) {
		t.Errorf("told %v", p.notices)
	}
	p.session.Close()
	r.pass(time.Minute)
	r.settled(0)
	if h, ok := r.dial().do(u.AskHelp).(*wire.Helped); !ok || h.State != wire.HelpDone {
		t.Errorf("asked again: %+v", h)
	}
}

// Servers that accept the certificates and then take no share: told, and what
// came is still there.
func TestServersRefuseTheShares(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	for _, s := range r.servers {
		s.refuses = true
	}
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, size)
	p.until("a refusal", func() bool { return len(p.notices) > 0 })
	if e, ok := p.notices[0].(*wire.Error); !ok || e.Text == "" || p.closed {
		t.Errorf("told %v, closed: %v", p.notices, p.closed)
	}
	r.settled(1)
}

// Two uploads of one job: the later one goes on, the other is told.
func TestOneSenderAtATime(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	first, second := r.dial(), r.dial()
	first.wants(u, 0)
	first.part(u, 0, 10_000)
	second.wants(u, 10_000)
	first.until("a word", func() bool { return len(first.notices) > 0 })
	wantCode(t, first.notices[0], wire.BadRequest)
	first.send(&wire.HelpData{Offset: 10_000}, make([]byte, 1000))
	r.pass(time.Second)
	if !first.closed {
		t.Error("it may still send")
	}
	r.wantStored(1, u, second.sendAll(u, 10_000))
	r.settled(0)
}

// Two accounts store under one storage index what is not the same: each gets
// what it sent.
func TestTwoCiphertextsOfOneFile(t *testing.T) {
	r := newRig(t, 2)
	one, two := r.newUpload(1, 1, size), r.newUpload(2, 1, size)
	p, q := r.dial(), r.dial()
	p.wants(one, 0)
	q.wants(two, 0)
	p.part(one, 0, 50_000)
	q.part(two, 0, 50_000)
	r.wantStored(1, one, p.sendAll(one, 50_000))
	q.part(two, 50_000, size)
	e, ok := q.last().(*wire.Error) // both servers hold the other content now
	if !ok || e.Text == "" {
		t.Errorf("the second ended with %v", q.notices)
	}
	r.settled(1)
}

func (p *peer) last() wire.Message {
	p.Helper()
	p.until("a word", func() bool { return p.closed || len(p.notices) > 0 && !isLifeSign(p.notices[len(p.notices)-1]) })
	return p.notices[len(p.notices)-1]
}

// What is under way, and was done, is of one file: another one under its name is
// refused, or begins anew.
func TestOtherFileUnderTheName(t *testing.T) {
	r := newRig(t, 2)
	u, other := r.newUpload(1, 1, size), r.newUpload(1, 2, size-1)
	other.Job = u.Job
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, 10_000)
	wantCode(t, r.dial().do(other.AskHelp), wire.BadRequest)
	r.wantStored(1, u, p.sendAll(u, 10_000))
	q := r.dial()
	q.wants(other, 0)
	r.wantStored(1, other, q.sendAll(other, 0))
	r.settled(0)
}

// A session may ask for another file; the one before it then has no client.
func TestSessionGoesOnToAnotherFile(t *testing.T) {
	r := newRig(t, 2)
	p := r.dial()
	for n := range byte(10) {
		p.wants(r.newUpload(1, n, 1000), 0)
	}
	r.pass(11 * time.Minute)
	if s := r.status(); s.Jobs != 1 {
		t.Errorf("%d jobs for one session", s.Jobs)
	}
	for n := range byte(10) {
		p.send(r.newUpload(1, 10+n, 1000).AskHelp)
	}
	r.pass(time.Second)
	if !p.closed {
		t.Error("a session may ask as often as it likes")
	}
}

func TestHostileSessions(t *testing.T) {
	data := func(offset uint64, n int) func(*peer) wire.Message {
		return func(p *peer) wire.Message { return p.do(&wire.HelpData{Offset: offset}, make([]byte, n)) }
	}
	for name, c := range map[string]struct {
		do   func(p *peer) wire.Message
		code wire.Code // 0 closes the connection
	}{
		"another hello":    {func(p *peer) wire.Message { return p.do(&wire.Hello{Version: wire.Version}) }, 0},
		"another protocol": {func(p *peer) wire.Message { return p.do(&wire.Find{}) }, wire.BadRequest},
		"bytes left out":   {data(2000, 10), wire.BadRequest},
		"bytes again":      {data(0, 10), wire.BadRequest},
		"too many at once": {data(1000, size), wire.BadRequest},
		"far away":         {data(1<<40, 10), wire.BadRequest},
		"an answer": {func(p *peer) wire.Message {
			p.conv.Send(wire.Frame{ID: 9, Answer: true, Message: &wire.Done{}})
			p.next = 20
			return p.do(&wire.Find{})
		}, 0},
		"a notice": {func(p *peer) wire.Message {
			p.conv.Send(wire.Frame{Message: &wire.HelpData{}}.WithBody(nil, []byte("x")))
			return p.do(&wire.Find{})
		}, 0},
		"another conversation": {func(p *peer) wire.Message {
			ended := false
			p.session.Open(transport.Helping, func(ev transport.Event) { ended = true }, 1)
			p.until("its end", func() bool { return ended || p.closed })
			return p.do(&wire.Find{})
		}, wire.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			u := r.newUpload(1, 1, size)
			p := r.dial()
			p.wants(u, 0)
			p.part(u, 0, 1000)
			m := c.do(p)
			if c.code != 0 {
				wantCode(t, m, c.code)
			} else if m != nil {
				t.Errorf("answered %v", m)
			}
			for _, b := range r.spool.Ciphertexts() {
				if !bytes.Equal(b, u.ciphertext[:1000]) {
					t.Errorf("%d bytes are there", len(b))
				}
			}
			p.session.Close()
			p = r.dial()
			p.wants(u, 1000)
			r.wantStored(1, u, p.sendAll(u, 1000))
			r.settled(0)
		})
	}
}

// Nothing is kept for who has not asked, and nobody may send before the helper
// wants it.
func TestDataBeforeItIsWanted(t *testing.T) {
	r := newRig(t, 2)
	p := r.dial()
	if m := p.do(&wire.HelpData{}, make([]byte, 1000)); m != nil {
		t.Errorf("answered %v", m)
	}
	u := r.newUpload(1, 1, size)
	p = r.dial()
	p.send(u.AskHelp)
	p.send(&wire.HelpData{}, u.ciphertext[:1000])
	r.pass(time.Minute)
	if !p.closed {
		t.Error("it may send before it is wanted")
	}
	for _, b := range r.spool.Ciphertexts() {
		if len(b) > 0 {
			t.Errorf("%d bytes are there", len(b))
		}
	}
}

// Silent connections are closed, at first soon, and when nothing is under way.
func TestSilentSessionsAreClosed(t *testing.T) {
	r := newRig(t, 1)
	mute, polite, stranger, busy := r.connect(), r.dial(), r.dial(), r.dial()
	u := r.newUpload(7, 1, size) // nobody's account
	wantCode(t, stranger.do(u.AskHelp), wire.NotAccepted)
	busy.wants(r.newUpload(1, 2, size), 0)
	r.pass(time.Minute)
	if !mute.closed || polite.closed || stranger.closed {
		t.Errorf("closed: %v, %v, %v", mute.closed, polite.closed, stranger.closed)
	}
	r.pass(10 * time.Minute)
	if !polite.closed || !stranger.closed || busy.closed {
		t.Errorf("closed: %v, %v, and one with a job: %v", polite.closed, stranger.closed, busy.closed)
	}
}

// Certificates that are no good get nothing kept.
func TestForgedCertificates(t *testing.T) {
	for name, spoil := range map[string]func(*rig, *upload){
		"nobody's account": func(r *rig, u *upload) { u.AskHelp = r.newUpload(7, 1, size).AskHelp },
		"forged": func(r *rig, u *upload) {
			for i, c := range u.Chains {
				u.Chains[i] = slices.Clone(c)
				u.Chains[i][len(c)-40] ^= 1
			}
		},
		"for too few servers": func(_ *rig, u *upload) { u.Chains = u.Chains[:1] },
		"one server, twice":   func(_ *rig, u *upload) { u.Chains[1] = u.Chains[0] },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			u := r.newUpload(1, 1, size)
			spoil(r, u)
			e, ok := r.dial().do(u.AskHelp).(*wire.Error)
			if !ok || e.Code != wire.NotAccepted && e.Code != wire.BadRequest || e.Text == "" {
				t.Errorf("answered %v", e)
			}
			r.settled(0)
		})
	}
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	u.StorageIndex = grid.StorageIndex{2}
	wantCode(t, r.dial().do(u.AskHelp), wire.BadRequest)
	u = r.newUpload(1, 1, size)
	u.Size = 10 * size
	wantCode(t, r.dial().do(u.AskHelp), wire.BadRequest)
	r.settled(0)
}
