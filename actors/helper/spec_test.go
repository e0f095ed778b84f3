package helper

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Certificates must be for this helper, this file and one server each, and good
// for its shares now.
func TestSpecOf(t *testing.T) {
	us, owner := lease.OneKeyAccount([lease.SeedSize]byte{1}), lease.OneKeyAccount([lease.SeedSize]byte{2})
	si, other, server := grid.StorageIndex{1}, grid.StorageIndex{2}, grid.ServerID{3}
	now := time.Unix(1_000_000, 0)
	chain := func(to lease.Account, r lease.Restrictions) []byte {
		c, err := lease.Credential{Key: owner.Key(grid.ServerID{})}.Delegate(
			to.PublicKey(grid.ServerID{}), lease.Delegation{SignerGetsLease: true, Restrictions: r})
		if err != nil {
			t.Fatal(err)
		}
		return c.Encode()
	}
	ask := func(chain []byte, size uint64, total uint) *wire.AskHelp {
		return &wire.AskHelp{StorageIndex: si, Size: size, Needed: 1, Happy: 1, Total: total, SegmentSize: 1 << 20, Chains: [][]byte{chain}}
	}
	limits := lease.Restrictions{StorageIndex: &si, Server: &server}
	with := func(change func(*lease.Restrictions)) []byte {
		r := limits
		change(&r)
		return chain(us, r)
	}
	good := chain(us, limits)
	for name, c := range map[string]struct {
		ask  *wire.AskHelp
		good bool
	}{
		"good":                     {ask(good, 100, 3), true},
		"for shares of that size":  {ask(with(func(r *lease.Restrictions) { r.MaxSize = new(int64(2000)) }), 100, 3), true},
		"for a while":              {ask(with(func(r *lease.Restrictions) { r.Until = new(now.Unix() + 60) }), 100, 3), true},
		"for another key":          {ask(chain(owner, limits), 100, 3), false},
		"for another file":         {ask(with(func(r *lease.Restrictions) { r.StorageIndex = &other }), 100, 3), false},
		"for any file":             {ask(with(func(r *lease.Restrictions) { r.StorageIndex = nil }), 100, 3), false},
		"for any server":           {ask(with(func(r *lease.Restrictions) { r.Server = nil }), 100, 3), false},
		"for smaller shares":       {ask(with(func(r *lease.Restrictions) { r.MaxSize = new(int64(99)) }), 100, 3), false},
		"for yesterday":            {ask(with(func(r *lease.Restrictions) { r.Until = new(now.Unix() - 60) }), 100, 3), false},
		"for renewing":             {ask(with(func(r *lease.Restrictions) { r.Operation = new(lease.OpRenewLease) }), 100, 3), false},
		"not a chain":              {ask([]byte("chain"), 100, 3), false},
		"no certificate in it":     {ask(lease.Chain{}.Encode(), 100, 3), false},
		"an empty file":            {ask(good, 0, 3), false},
		"parameters without sense": {ask(good, 100, 0), false},
	} {
		s, err := specOf(c.ask, us, now)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if c.good && (len(s.authority.Holdings) != 1 || s.si != si || s.size != 100) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
