package helper_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/transport/wire"
)

// large is so much that an account can have one, and two have more than the half
// of the spool.
const large = 300_000

// begin has a file begun and leaves half of it there.
func (r *rig) begin(n, si byte) *upload {
	r.Helper()
	u := r.newUpload(n, si, large)
	u.SegmentSize = large
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, large/2)
	p.session.Close()
	return u
}

// No account has so much of the spool that it leaves less to others, over
// restarts, too; what it stops sending goes after a day.
func TestShareOfTheSpool(t *testing.T) {
	r := newRig(t, 5)
	r.begin(1, 1)
	second := r.newUpload(1, 2, large)
	wantShare := func(who string) {
		t.Helper()
		if e := wantCode(t, r.dial().do(second.AskHelp), wire.ServerFull); !strings.Contains(e.Text, "this account") {
			t.Errorf("%s: %v", who, e)
		}
	}
	wantShare("while the first is under way")
	r.begin(2, 3) // another account may have as much
	r.pass(11 * time.Minute)
	if s := r.status(); s.Jobs != 0 || s.Spooled < large || s.Spooled > 2*large {
		t.Errorf("two halves of files are there: %+v", s)
	}
	wantShare("half of it is there, and as much of another's")
	r.restart(bytes.Clone)
	wantShare("after a restart")
	p := r.dial()
	p.wants(r.newUpload(3, 5, large), 0)
	p.session.Close()
	r.pass(26 * time.Hour)
	if s := r.status(); s.Spooled != 0 || len(r.spool.Ciphertexts()) != 0 {
		t.Errorf("after a day: %+v", s)
	}
	r.dial().wants(r.newUpload(1, 6, large), 0)
}

// Strangers can't take room from others, however much they say that they have.
func TestStrangersTakeNoRoom(t *testing.T) {
	r := newRig(t, 2)
	for n := range byte(30) {
		u := r.newUpload(7, n, space/2-20_000)
		r.dial().send(u.AskHelp)
	}
	r.dial().wants(r.newUpload(1, 1, size), 0)
	r.pass(time.Minute)
	if s := r.status(); s.Jobs != 1 {
		t.Errorf("%+v", s)
	}
	wantCode(t, r.dial().do(r.newUpload(1, 2, space/2).AskHelp), wire.ServerFull)
}

// One account has half of the jobs at most.
func TestShareOfTheJobs(t *testing.T) {
	r := newRig(t, 2)
	r.config.Space = 10 * space
	r.restart(bytes.Clone)
	var u *upload
	for n := range byte(32) {
		u = r.newUpload(1, n, 56)
		r.dial().wants(u, 0)
	}
	wantCode(t, r.dial().do(r.newUpload(1, 40, 56).AskHelp), wire.Busy)
	r.dial().wants(r.newUpload(2, 41, 56), 0)
	p := r.dial()
	p.wants(u, 0) // a job that there is
	p.part(u, 0, 30)
	p.part(u, 30, 56)
	p.done()
	r.dial().wants(r.newUpload(1, 40, 56), 0)
}

// A client that is there and sends nothing is not waited for for ever.
func TestStalledClient(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	p := r.dial()
	p.wants(u, 0)
	for range 3 {
		r.pass(20 * time.Minute)
		p.part(u, len(r.ciphertext()), len(r.ciphertext())+10)
	}
	if r.status().Jobs != 1 {
		t.Error("a slow client was given up")
	}
	r.pass(31 * time.Minute)
	wantCode(t, p.last(), wire.BadRequest)
	r.settled(1)
	p = r.dial()
	p.wants(u, 30)
	r.wantStored(1, u, p.sendAll(u, 30))
	r.settled(0)
}

// ciphertext is the only one.
func (r *rig) ciphertext() []byte {
	for _, b := range r.spool.Ciphertexts() {
		return b
	}
	return nil
}

func TestFullDisk(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	r.spool.Room = 50_500
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, 50_000)
	p.send(&wire.HelpData{Offset: 50_000}, u.ciphertext[50_000:51_000])
	p.send(&wire.HelpData{Offset: 51_000}, u.ciphertext[51_000:52_000])
	wantCode(t, p.last(), wire.ServerFull)
	r.settled(1)
	r.spool.Room = 0
	p = r.dial()
	p.wants(u, 50_500)
	r.wantStored(1, u, p.sendAll(u, 50_500))
	r.settled(0)
}

func TestSpoolThatCantBeOpened(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	r.spool.Fault = func() error { return errors.New("planted") }
	wantCode(t, r.dial().do(u.AskHelp), wire.Busy)
	r.spool.Fault = nil
	p := r.dial()
	p.wants(u, 0)
	r.wantStored(1, u, p.sendAll(u, 0))
	r.settled(0)
}

// What is looked at while it changes is counted rightly.
func TestSweepsCountRightly(t *testing.T) {
	r := newRig(t, 2)
	for n := range byte(20) {
		r.pass(time.Hour - r.world.Now().Sub(r.world.Now().Truncate(time.Hour)) - time.Duration(n)*time.Millisecond)
		u := r.newUpload(1, n, size)
		p := r.dial()
		p.wants(u, 0)
		r.wantStored(1, u, p.sendAll(u, 0))
		r.settled(0)
		if h, ok := r.dial().do(u.AskHelp).(*wire.Helped); !ok || h.State != wire.HelpDone {
			t.Fatalf("asked again: %+v", h)
		}
	}
}

// A job that fails loses nothing that came.
func TestJobFails(t *testing.T) {
	r := newRig(t, 2)
	u := r.newUpload(1, 1, size)
	p := r.dial()
	p.wants(u, 0)
	p.part(u, 0, 10_000)
	r.world.Inject = func(id string, _ any) bool { return strings.Contains(id, "/job/") }
	p.send(&wire.HelpData{Offset: 10_000}, u.ciphertext[10_000:20_000])
	r.until("the end of the connection", func() bool { return p.closed })
	r.world.Inject = nil
	if s := r.status(); s.Jobs != 0 || s.Spooled < size {
		t.Errorf("%+v", s)
	}
	r.pass(2 * time.Hour)
	if s := r.status(); s.Spooled < 10_000 || s.Spooled >= size {
		t.Errorf("after it was looked at: %+v", s)
	}
	p = r.dial()
	p.wants(u, 10_000)
	r.wantStored(1, u, p.sendAll(u, 10_000))
	r.settled(0)
}
