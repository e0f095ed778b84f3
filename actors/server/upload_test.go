package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// offer allocates a share that is pulled from offers.
func (c *client) offer(a *wire.Allocate, share []byte) *wire.Allocated {
	c.Helper()
	c.offers[a.Secret] = share
	got, ok := c.do(a).(*wire.Allocated)
	if !ok {
		c.Fatalf("allocate answered by %v", got)
	}
	return got
}

// freed fails unless nothing is reserved or being uploaded.
func (r *rig) freed() {
	r.Helper()
	if s := r.status(); s.Reserved != 0 || s.Uploads != 0 {
		r.Errorf("still reserved: %+v", s)
	}
}

func TestLostConnectionResumes(t *testing.T) {
	r := newRig(t, 20)
	r.addAccount(1, nil)
	share := shareOf("resumed", 4_000_000)
	a := allocate(1, 0, share)
	first := r.dial("client")
	ref := first.logIn(1).Reference
	first.offer(a, share)
	r.until("half of it", func() bool { return len(first.reads) > 8 })
	first.session.Close()
	r.until("the end", func() bool { return first.closed != nil })
	if err := r.world.For(5 * time.Minute); err != nil {
		t.Fatal(err)
	}
	second := r.dial("client")
	if _, ok := second.do(&wire.Resume{Reference: ref}).(*wire.LoggedIn); !ok {
		t.Fatal("can't resume")
	}
	got := second.offer(a, share)
	if got.State != wire.Coming || got.Have == 0 {
		t.Fatalf("offered again: %+v", got)
	}
	r.until("Stored", func() bool { return len(second.stored) > 0 })
	if second.stored[0].Code != 0 {
		t.Fatalf("stored %+v", second.stored[0])
	}
	for _, read := range second.reads {
		if read.Offset < got.Have {
			t.Errorf("byte %d asked for again, though %d were there", read.Offset, got.Have)
		}
	}
	id := second.send(&wire.Read{StorageIndex: a.StorageIndex, Ranges: []wire.Range{{Length: 1 << 20}}})
	second.wait(id)
	if !bytes.Equal(second.bodies[id], share[:1<<20]) {
		t.Error("what is read is not what was uploaded")
	}
	r.freed()
}

func TestBadByteIsRefused(t *testing.T) {
	for name, upload := range map[string]func(c *client, share []byte) wire.Code{
		"inline": func(c *client, share []byte) wire.Code {
			return c.do(allocate(1, 0, share), share).(*wire.Error).Code
		},
		"pulled": func(c *client, share []byte) wire.Code {
			c.offer(allocate(1, 0, share), share)
			c.until("Stored", func() bool { return len(c.stored) > 0 })
			return c.stored[0].Code
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 21)
			r.addAccount(1, nil)
			c := r.dial("client")
			c.logIn(1)
			share := shareOf("bad", 100_000)
			share[50_000] ^= 1
			if code := upload(c, share); code != wire.BadShare {
				t.Errorf("code %v", code)
			}
			r.freed()
			if *r.table.files != 0 {
				t.Error("the incoming file was not deleted")
			}
			if found := c.do(&wire.Find{StorageIndex: grid.StorageIndex{1}}).(*wire.Found); len(found.Shares) != 0 {
				t.Errorf("found %+v", found)
			}
			if report := c.do(&wire.Usage{}).(*wire.UsageReport); report.Bytes != 0 || report.Reserved != 0 {
				t.Errorf("usage %+v", report)
			}
		})
	}
}

func TestTwoSharesAreNoShare(t *testing.T) {
	r := newRig(t, 22)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	short := allocate(2, 0, nil)
	short.Size = 300_000
	c.offers[short.Secret] = append(shareOf("a", 150_000), shareOf("b", 150_000)...)
	c.do(short)
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	if c.stored[0].Code != wire.BadShare {
		t.Errorf("stored %+v", c.stored[0])
	}
	r.freed()
}

func TestQuotaIsExact(t *testing.T) {
	r := newRig(t, 23)
	const size, room = 10_000, 20
	r.addAccount(1, new(int64(room*(size+128)+size))) // and not a whole one more
	c := r.dial("client")
	c.logIn(1)
	var ids []uint64
	for n := range 64 {
		share := shareOf("quota", size)
		ids = append(ids, c.send(allocate(byte(n), 0, share), share))
	}
	stored, over := 0, 0
	for _, id := range ids {
		switch m := c.wait(id).(type) {
		case *wire.Allocated:
			stored++
		case *wire.Error:
			if m.Code != wire.OverQuota {
				t.Errorf("refused with %v", m)
			}
			over++
		}
	}
	if stored != room || over != 64-room {
		t.Errorf("%d stored and %d refused, want %d and %d", stored, over, room, 64-room)
	}
	if u := r.usage(t)[0].Below; u.Stored.Bytes != room*(size+128) || u.Reserved != (lease.Counter{}) {
		t.Errorf("usage %+v", u)
	}
}

func TestAbandon(t *testing.T) {
	r := newRig(t, 24)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	c.holding = true
	share := shareOf("abandoned", 1_000_000)
	a := allocate(1, 0, share)
	c.offer(a, share)
	if s := r.status(); s.Reserved != 1_000_128 || s.Uploads != 1 {
		t.Fatalf("status %+v", s)
	}
	abandon := &wire.Abandon{StorageIndex: a.StorageIndex, Num: a.Num}
	if _, ok := c.do(abandon).(*wire.Done); !ok {
		t.Fatal("not abandoned")
	}
	if len(c.stored) != 1 || c.stored[0].Code != wire.Abandoned {
		t.Errorf("stored %+v", c.stored)
	}
	r.freed()
	if _, ok := c.do(abandon).(*wire.Done); !ok {
		t.Error("abandoning nothing is no error")
	}
	c.holding = false
	c.offer(a, share)
	r.until("Stored", func() bool { return len(c.stored) > 1 })
	if c.stored[1].Code != 0 {
		t.Errorf("offered again: %+v", c.stored[1])
	}
}

func TestSlowClientIsDropped(t *testing.T) {
	r := newRig(t, 25)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	c.holding = true
	share := shareOf("slow", 1_000_000)
	c.offer(allocate(1, 0, share), share)
	if err := r.world.For(50 * time.Second); err != nil {
		t.Fatal(err)
	}
	if len(c.stored) != 0 {
		t.Fatalf("dropped too early: %+v", c.stored[0])
	}
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	if c.stored[0].Code != wire.TooSlow {
		t.Errorf("stored %+v", c.stored[0])
	}
	r.freed()
}

func TestClientThatNeverComesBack(t *testing.T) {
	r := newRig(t, 26)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	c.holding = true
	share := shareOf("left", 1_000_000)
	c.offer(allocate(1, 0, share), share)
	c.session.Close()
	if err := r.world.For(9 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if s := r.status(); s.Uploads != 1 || s.Sessions != 0 {
		t.Fatalf("status %+v", s)
	}
	if err := r.world.For(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	r.freed()
}

// TestClientThatComesAndGoes keeps no reservation by coming back in time, over
// the same connection or another one, without a byte of the share.
func TestClientThatComesAndGoes(t *testing.T) {
	for name, again := range map[string]func(*client) *client{
		"another connection": func(c *client) *client {
			c.session.Close()
			fresh := c.rig.dial("client")
			fresh.logIn(1)
			return fresh
		},
		"the same connection": func(c *client) *client { return c },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 16)
			r.addAccount(1, nil)
			c := r.dial("client")
			c.logIn(1)
			share := shareOf("never", 900_000)
			for range 19 {
				c.holding = true
				c.offers[allocate(1, 0, share).Secret] = share
				c.send(allocate(1, 0, share))
				if err := r.world.For(30 * time.Second); err != nil {
					t.Fatal(err)
				}
				if r.status().Uploads == 0 {
					t.Fatal("given up already")
				}
				c = again(c)
			}
			c.session.Close()
			if err := r.world.For(time.Minute); err != nil {
				t.Fatal(err)
			}
			if s := r.status(); s.Reserved != 0 || s.Uploads != 0 {
				t.Errorf("after more than ten minutes without a byte: %+v", s)
			}
		})
	}
}

func TestTwoAccountsOneShare(t *testing.T) {
	r := newRig(t, 27)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	share := shareOf("shared", 2_000_000)
	a := allocate(1, 0, share)
	one, two := r.dial("one"), r.dial("two")
	one.logIn(1)
	two.logIn(2)
	one.holding, two.holding = true, true
	one.offer(a, share)
	two.offer(a, share)
	if s := r.status(); s.Uploads != 2 || s.Reserved != 2*2_000_128 {
		t.Fatalf("status %+v", s)
	}
	one.holding, two.holding = false, false
	for _, c := range []*client{one, two} { // what they held back is lost with the connection
		c.session.Close()
	}
	one, two = r.dial("one"), r.dial("two")
	one.logIn(1)
	two.logIn(2)
	one.offer(a, share)
	two.offer(a, share)
	for _, c := range []*client{one, two} {
		r.until("Stored", func() bool { return len(c.stored) > 0 })
		if s := c.stored[0]; s.Code != 0 || s.UEBHash != uebOf(0, share) {
			t.Errorf("stored %+v", s)
		}
	}
	for _, u := range r.usage(t) {
		if u.Own.Stored != (lease.Counter{Bytes: 2_000_128, Leases: 1}) {
			t.Errorf("%s holds %+v", u.Root.Petname, u.Own)
		}
	}
	r.freed()
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	if *r.table.files != 1 {
		t.Errorf("%d files for one share", *r.table.files)
	}
}

func TestAlreadyHere(t *testing.T) {
	r := newRig(t, 28)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	share := shareOf("here", 2000)
	one, two := r.dial("one"), r.dial("two")
	one.logIn(1)
	two.logIn(2)
	one.do(allocate(1, 0, share), share)
	got, ok := two.do(allocate(1, 0, share)).(*wire.Allocated)
	if !ok || got.State != wire.AlreadyHere || got.UEBHash != uebOf(0, share) {
		t.Fatalf("allocate answered by %+v", got)
	}
	for _, want := range []uint64{0, 1} { // no lease is made before it is asked for
		if report := two.do(&wire.Usage{}).(*wire.UsageReport); report.Shares != want {
			t.Errorf("%d leases, want %d", report.Shares, want)
		}
		two.do(&wire.AddLease{StorageIndex: grid.StorageIndex{1}, UEBHash: got.UEBHash})
	}
	leased, ok := two.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{{1}}}).(*wire.Leased)
	if !ok || leased.Count != 1 || leased.Expires < r.world.Now().Add(30*24*time.Hour).Unix() {
		t.Errorf("renewed %+v", leased)
	}
	wantCode(t, two.do(&wire.AddLease{StorageIndex: grid.StorageIndex{8}}), wire.NoSuchShare)
	r.freed()
}

func TestServerFull(t *testing.T) {
	r := newRig(t, 29)
	r.addAccount(1, nil)
	r.free = 5000
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("full", 5000)
	wantCode(t, c.do(allocate(1, 0, share), share), wire.ServerFull)
	r.freed()
}

func TestOfferedTwiceAtOnce(t *testing.T) {
	r := newRig(t, 30)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("twice", 200_000)
	a := allocate(1, 0, share)
	c.offers[a.Secret] = share
	c.holding = true
	c.do(a)
	r.until("a pull", func() bool { return c.pulls == 1 })
	c.do(a)
	if err := r.world.For(time.Second); err != nil {
		t.Fatal(err)
	}
	if c.pulls != 1 {
		t.Errorf("the server pulls one share %d times", c.pulls)
	}
	c.holding = false
	first, second := c.send(a), c.send(a)
	c.wait(first)
	c.wait(second)
	other := *a
	other.Size++
	wantCode(t, c.do(&other), wire.BadRequest)
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	if c.stored[0].Code != 0 {
		t.Errorf("stored %+v", c.stored[0])
	}
	r.freed()
}

// TestCrashInMidUpload: what a power cut leaves is a server without a trace of
// the share.
func TestCrashInMidUpload(t *testing.T) {
	r := newRig(t, 31)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	c.offer(allocate(1, 0, shareOf("crash", 4_000_000)), shareOf("crash", 4_000_000))
	r.until("half of it", func() bool { return len(c.reads) > 8 })
	r.net.Crash("server")
	r.world.Crash("storage")
	after, err := r.table.AfterCrash()
	if err != nil {
		t.Fatal(err)
	}
	r.table.Store, r.config.Store = after, table{after, r.table.freeSpace, r.table.files}
	r.pid, _ = r.world.Sys.Root("storage", server.New(r.world.Env(), r.config))
	r.freed()
	list := r.usage(t)
	if len(list) != 1 || list[0].Below != (lease.Usage{}) {
		t.Errorf("usage %+v", list)
	}
}

// TestFailingParts: whatever actor fails in mid-upload, nothing stays reserved
// and the share can be offered again.
func TestFailingParts(t *testing.T) {
	for _, part := range []string{"storage/ledger", "storage/pull/", "storage/listener/session/", "storage/login", "storage/collector"} {
		t.Run(part, func(t *testing.T) {
			r := newRig(t, 32)
			r.addAccount(1, nil)
			c := r.dial("client")
			c.logIn(1)
			share := shareOf("failing", 4_000_000)
			a := allocate(1, 0, share)
			c.offer(a, share)
			r.until("half of it", func() bool { return len(c.reads) > 8 })
			failed := false
			r.world.Inject = func(id string, _ any) bool {
				now := !failed && strings.HasPrefix(id, part) && !strings.Contains(id, "facet")
				failed = failed || now
				return now
			}
			r.world.Sys.Env.Spawn.Send(r.pid, server.ListUsage{})
			if err := r.world.For(2 * time.Hour); err != nil {
				t.Fatal(err)
			}
			if !failed && part != "storage/login" {
				t.Fatal("nothing failed, so the test shows nothing")
			}
			r.freed()
			again := r.dial("client")
			if part == "storage/login" {
				first := &wire.Login{Chain: lease.Chain{}.Encode(), Request: again.request(key(1), lease.Chain{}, true)}
				wantCode(t, again.do(first), wire.Busy)
			}
			again.logIn(1)
			again.offers[a.Secret] = share
			if got, ok := again.do(a).(*wire.Allocated); !ok || (got.State == wire.Coming && !r.comes(again)) {
				t.Errorf("offered again: %v", got)
			}
			if len(r.fatal) != 0 {
				t.Errorf("fatal: %v", r.fatal)
			}
		})
	}
}

// TestLedgerFailsOnAnUpload: the upload whose very step was lost ends, too.
func TestLedgerFailsOnAnUpload(t *testing.T) {
	for _, step := range []string{"server.reserve", "server.commit"} {
		t.Run(step, func(t *testing.T) {
			r := newRig(t, 35)
			r.addAccount(1, nil)
			c := r.dial("client")
			c.logIn(1)
			failed := false
			r.world.Inject = func(_ string, m any) bool {
				now := !failed && fmt.Sprintf("%T", m) == step
				failed = failed || now
				return now
			}
			share := shareOf("unlucky", 50_000)
			wantCode(t, c.do(allocate(1, 0, share), share), wire.Abandoned)
			r.freed()
			if got, ok := c.do(allocate(1, 0, share), share).(*wire.Allocated); !ok || got.State != wire.NowStored {
				t.Errorf("offered again: %v", got)
			}
		})
	}
}

func (r *rig) comes(c *client) bool {
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	return c.stored[0].Code == 0
}

// failingDisk refuses to make anything durable once it is told to.
type failingDisk struct {
	table
	fails *bool
}

func (f failingDisk) Apply(c lease.Change) (func() error, error) {
	wait, err := f.table.Apply(c)
	if *f.fails {
		wait = func() error { return errors.New("no such disk") }
	}
	return wait, err
}

func TestFailedSyncEndsTheServer(t *testing.T) {
	fails := false
	r := newRig(t, 33, func(c *server.Config) { c.Store = failingDisk{c.Store.(table), &fails} })
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	fails = true
	share := shareOf("lost", 1000)
	id := c.send(allocate(1, 0, share), share)
	r.until("the end", func() bool { return len(r.fatal) > 0 })
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	if c.answers[id] != nil || len(r.fatal) != 1 {
		t.Errorf("acknowledged %v, fatal %v", c.answers[id], r.fatal)
	}
}

func TestExpiry(t *testing.T) {
	r := newRig(t, 34)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	small, large := shareOf("small", 1000), shareOf("large", 100_000)
	c.do(allocate(1, 0, small), small)
	c.do(allocate(2, 0, large), large)
	if err := r.world.For(30 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if u := r.usage(t)[0].Own.Stored.Leases; u != 2 {
		t.Fatalf("%d leases before their end", u)
	}
	if err := r.world.For(2 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if u := r.usage(t)[0].Own; u != (lease.Usage{}) {
		t.Errorf("usage %+v", u)
	}
	going, err := r.table.Going()
	if err != nil || len(going) != 0 {
		t.Errorf("not deleted: %v, %v", going, err)
	}
	if found := r.dial("reader").do(&wire.Find{StorageIndex: grid.StorageIndex{2}}).(*wire.Found); len(found.Shares) != 0 {
		t.Errorf("found %+v", found)
	}
}

// A client keeps so much encoded, and lets the next of it be made only when it
// knows that the server holds what came before: whoever asks for more waits for
// ever.
func TestWindowOfAnOffer(t *testing.T) {
	for _, window := range []uint64{1, 10_000, 64 << 10, 300_000, 2 << 20} {
		r := newRig(t, 1)
		r.addAccount(1, nil)
		c := r.dial("client")
		c.logIn(1)
		share := shareOf("window", 1<<20)
		m := allocate(5, 0, share)
		m.Window = window
		most := max(window, 1<<10) // less is never asked for
		c.offers[m.Secret] = share
		if a := c.do(m).(*wire.Allocated); a.State != wire.Coming {
			t.Fatalf("answered by %v", a)
		}
		c.until("the share", func() bool { return len(c.stored) == 1 })
		for _, read := range c.reads {
			if read.Offset+read.Length > read.Have+most {
				t.Fatalf("with a window of %d it asks for %+v", window, read)
			}
		}
	}
}

// TestOthersContentIsNotPaidFor: who offers a share where another content is
// already is told which, and has no lease on it, be it larger or of the same
// size; nor who asks for a lease on the content that he knows, nor whose upload
// comes second.
func TestOthersContentIsNotPaidFor(t *testing.T) {
	r := newRig(t, 98)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	first, second := r.dial("first"), r.dial("second")
	first.logIn(1)
	second.logIn(2)
	large := shareOf("junk", 400_000)
	first.offer(allocate(1, 0, large), large)
	r.until("Stored", func() bool { return len(first.stored) > 0 })
	first.do(allocate(2, 0, shareOf("junk", 1000)), shareOf("junk", 1000))
	first.do(allocate(3, 0, shareOf("junk", 1000)), shareOf("junk", 1000))
	for si, share := range map[byte][]byte{1: shareOf("mine", 400_000), 2: shareOf("mine", 1000), 3: shareOf("mine", 900)} {
		var body []byte
		if len(share) <= 1000 {
			body = share
		}
		got, ok := second.do(allocate(si, 0, share), body).(*wire.Allocated)
		if !ok || got.State != wire.AlreadyHere || got.UEBHash == ([32]byte{}) {
			t.Errorf("%d bytes: %+v", len(share), got)
		}
		mine := uebOf(0, share)
		wantCode(t, second.do(&wire.AddLease{StorageIndex: grid.StorageIndex{si}, Nums: []grid.ShareNum{0}, UEBHash: mine}), wire.NoSuchShare)
		wantCode(t, second.do(&wire.AddLease{StorageIndex: grid.StorageIndex{si}, UEBHash: mine}), wire.NoSuchShare)
	}
	junk, mine := shareOf("junk", 60_000), shareOf("mine", 4_000_000)
	second.offer(allocate(4, 0, mine), mine)
	first.offer(allocate(4, 0, junk), junk)
	r.until("mine came second", func() bool { return len(second.stored) > 0 })
	if s := second.stored[0]; s.Code != 0 || s.UEBHash != uebOf(0, junk) {
		t.Errorf("what came second is told %+v", s)
	}
	if u := second.do(&wire.Usage{}).(*wire.UsageReport); u.Bytes != 0 || u.Shares != 0 {
		t.Errorf("charged for what others stored: %+v", u)
	}
	theirs := uebOf(0, shareOf("junk", 1000))
	if m, ok := second.do(&wire.AddLease{StorageIndex: grid.StorageIndex{2}, UEBHash: theirs}).(*wire.Leased); !ok || m.Count != 1 {
		t.Errorf("the same content: %+v", m)
	}
	if u := second.do(&wire.Usage{}).(*wire.UsageReport); u.Shares != 1 {
		t.Errorf("the same content has no lease: %+v", u)
	}
}
