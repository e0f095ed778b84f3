package helper

import (
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Certificates must be for this helper, this file and one server each.
func TestSpecOf(t *testing.T) {
	us, owner := lease.OneKeyAccount([lease.SeedSize]byte{1}), lease.OneKeyAccount([lease.SeedSize]byte{2})
	si, other, server := grid.StorageIndex{1}, grid.StorageIndex{2}, grid.ServerID{3}
	chain := func(to lease.Account, si *grid.StorageIndex, server *grid.ServerID) []byte {
		d := lease.Delegation{SignerGetsLease: true}
		d.StorageIndex, d.Server = si, server
		c, err := lease.Credential{Key: owner.Key(grid.ServerID{})}.Delegate(to.PublicKey(grid.ServerID{}), d)
		if err != nil {
			t.Fatal(err)
		}
		return c.Encode()
	}
	ask := func(chain []byte, size uint64, total uint) *wire.AskHelp {
		return &wire.AskHelp{StorageIndex: si, Size: size, Needed: 1, Happy: 1, Total: total, SegmentSize: 1 << 20, Chains: [][]byte{chain}}
	}
	good := chain(us, &si, &server)
	for name, c := range map[string]struct {
		ask  *wire.AskHelp
		good bool
	}{
		"good":                     {ask(good, 100, 3), true},
		"for another key":          {ask(chain(owner, &si, &server), 100, 3), false},
		"for another file":         {ask(chain(us, &other, &server), 100, 3), false},
		"for any file":             {ask(chain(us, nil, &server), 100, 3), false},
		"for any server":           {ask(chain(us, &si, nil), 100, 3), false},
		"not a chain":              {ask([]byte("chain"), 100, 3), false},
		"no certificate in it":     {ask(lease.Chain{}.Encode(), 100, 3), false},
		"an empty file":            {ask(good, 0, 3), false},
		"parameters without sense": {ask(good, 100, 0), false},
	} {
		s, err := specOf(c.ask, us)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if c.good && (len(s.authority.Holdings) != 1 || s.si != si || s.size != 100) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
