//go:build integration

package integration_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// aged is when the leases of renewalTest were made, before now.
const aged = 10 * 24 * time.Hour

// renewalTest is a server with many leases, and a client whose journal lists most
// of them, and some that the server does not have.
type renewalTest struct {
	*testing.T
	server, client *nodes.Node
	id             grid.ServerID
	account, other grid.PublicKey
	began          time.Time
	// listed leases are in the journal and at the server; unlisted ones only
	// there, lapsed ones only in the journal; others are somebody else's.
	listed, unlisted, lapsed, others []lease.ShareID
}

// A client that is killed in the midst of renewing leases, its server's answers
// on their way, loses none, renews what is left when it is back, and touches
// nothing that it did not list.
func TestClientKilledWhileItRenews(t *testing.T) {
	proxy := nodes.NewProxy(t)
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1, ServerArgs: func(int) []string { return proxy.ServerArgs() }})
	r := newRenewalTest(t, g)
	for i, answers := range []int64{0, 1, 3} {
		proxy.HoldGot(answers*wire.MaxShares + wire.MaxShares/2)
		command := nodes.Begin(t, nil, nil, "-d", r.client.Dir, "leases", "--renew")
		nodes.Until(t, "an answer is held", nodes.Patience, proxy.Held)
		r.client.Kill()
		command.Wait().WantFailure(t, 3, "the node")
		proxy.Cut()
		proxy.Release()
		r.server.Stop()
		renewed := r.check()
		if i == 0 && (renewed == 0 || renewed == len(r.listed)) {
			t.Errorf("the client was killed when the server had renewed %d of %d leases", renewed, len(r.listed))
		}
		r.start()
	}
	if out := nodes.Tarn(t, "-d", r.client.Dir, "leases", "--renew"); !strings.Contains(out, "lapsed, found") {
		t.Errorf("the client is not told of what has lapsed: %s", out)
	}
	r.client.Stop()
	r.server.Stop()
	if renewed := r.check(); renewed != len(r.listed) {
		t.Errorf("in the end %d of %d leases are renewed", renewed, len(r.listed))
	}
}

func newRenewalTest(t *testing.T, g *nodes.Grid) *renewalTest {
	r := &renewalTest{T: t, server: g.Servers[0], client: g.Client, began: time.Now()}
	var err error
	r.id, err = grid.ParseServerID(r.server.Status().Storage.Server)
	r.must(err)
	r.account, err = grid.ParsePublicKey(nodes.Tarn(t, "-d", r.client.Dir, "client", "account-key", r.id.String()))
	r.must(err)
	second := g.NewClient("second")
	r.other, err = grid.ParsePublicKey(nodes.Tarn(t, "-d", second.Dir, "client", "account-key", r.id.String()))
	r.must(err)
	all := make([]lease.ShareID, 5*wire.MaxShares)
	for i := range all {
		binary.BigEndian.PutUint64(all[i].StorageIndex[:], uint64(i+1)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(all[i].StorageIndex[8:], uint64(i))
	}
	r.others, r.unlisted, r.lapsed, r.listed = all[:20], all[20:50], all[50:60], all[60:]
	r.client.Stop()
	r.server.Stop()
	r.fill()
	r.start()
	return r
}

func (r *renewalTest) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *renewalTest) start() {
	r.Helper()
	r.server.Start()
	r.client.Start()
	r.client.WaitLogins(1)
}

// table is the server's, while it does not run; journal the client's.
func (r *renewalTest) table() *store.Store {
	r.Helper()
	s, err := store.Open(r.server.Path("storage"), store.Options{})
	r.must(err)
	return s
}

func (r *renewalTest) journal() *store.Journal {
	r.Helper()
	j, err := store.OpenJournal(r.client.Path("private", "journal"), store.Options{})
	r.must(err)
	return j
}

// fill makes leases and lists them.
func (r *renewalTest) fill() {
	s, j := r.table(), r.journal()
	made := r.began.Add(-aged)
	ledger := lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})
	put := func(owner grid.PublicKey, shares []lease.ShareID) {
		grant := lease.Grant{Root: owner, Keys: []grid.PublicKey{owner}, Label: owner}
		for _, id := range shares {
			change, _, err := ledger.Put(made, grant, id, lease.Body{}, lease.NoLimit)
			r.must(err)
			_, err = s.Apply(change)
			r.must(err)
		}
	}
	put(r.account, r.listed)
	put(r.account, r.unlisted)
	put(r.other, r.others)
	var leases []lease.JournalLease
	for _, id := range append(r.lapsed[:len(r.lapsed):len(r.lapsed)], r.listed...) {
		leases = append(leases, lease.JournalLease{Share: id, Label: r.account, Renewed: made.Unix(), Expires: made.Add(lease.LeaseDuration).Unix()})
	}
	r.must(j.Adopt(r.id, leases))
	r.must(errors.Join(s.Close(), j.Close()))
}

// check compares table and journal while neither node runs, and counts the
// listed leases that the server has renewed.
func (r *renewalTest) check() (renewed int) {
	r.Helper()
	s, j := r.table(), r.journal()
	old := r.began.Add(-aged).Add(lease.LeaseDuration).Unix()
	end := func(owner grid.PublicKey, id lease.ShareID) int64 {
		l, ok, err := s.Lease(lease.LeaseID{Column: lease.ColumnOf(owner), Share: id})
		r.must(err)
		if !ok {
			return 0
		}
		return l.Expires
	}
	ends := map[lease.ShareID]int64{}
	for _, id := range r.listed {
		ends[id] = end(r.account, id)
		switch {
		case ends[id] < old:
			r.Fatalf("the lease on %v ends %v", id, time.Unix(ends[id], 0))
		case ends[id] > old:
			renewed++
		}
	}
	for _, id := range r.unlisted {
		if at := end(r.account, id); at != old {
			r.Errorf("a lease that is not in the journal ends %v", time.Unix(at, 0))
		}
	}
	for _, id := range r.others {
		if end(r.other, id) != old || end(r.account, id) != 0 {
			r.Error("the lease of another account was touched")
		}
	}
	for _, id := range r.lapsed {
		if end(r.account, id) != 0 {
			r.Error("a lease came to be that the server did not have")
		}
	}
	r.checkJournal(j, ends)
	r.must(errors.Join(s.Close(), j.Close()))
	return renewed
}

// checkJournal holds that the journal lists what it did, and promises nothing
// that the server does not keep.
func (r *renewalTest) checkJournal(j *store.Journal, ends map[lease.ShareID]int64) {
	r.Helper()
	leases, _, err := j.LeasesAfter(r.id, nil, 1<<20)
	r.must(err)
	if len(leases) != len(r.listed)+len(r.lapsed) {
		r.Errorf("the journal lists %d leases", len(leases))
	}
	for _, l := range leases {
		at, there := ends[l.Share]
		if there && (l.Lapsed != 0 || l.Expires > at) || l.Label != r.account {
			r.Fatalf("the journal says %+v, and the server's lease ends %v", l, time.Unix(at, 0))
		}
	}
}
