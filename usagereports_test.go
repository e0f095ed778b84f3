package tarn

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/transport/wire"
)

// export writes reports as lines.
func export(t *testing.T, reports ...UsageReport) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	for _, r := range reports {
		if err := json.NewEncoder(&b).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.NewReader(b.Bytes())
}

// Whatever an aggregator does to what it was told, its reader believes no more
// than what servers signed, counts each server once and as it said last, and is
// told what is missing.
func TestCheckUsageBelievesServersAlone(t *testing.T) {
	now := time.Unix(1795000000, 0)
	manager := grid.PublicKey{7}
	servers := []ed25519.PrivateKey{ed25519.NewKeyFromSeed(append(make([]byte, 31), 1)), ed25519.NewKeyFromSeed(append(make([]byte, 31), 2))}
	id := func(n int) grid.ServerID { return grid.ServerID(grid.PublicKeyOf(servers[n])) }
	alice := Member{Member: membership.Member{Name: "alice"}}
	for n := range servers {
		alice.Keys = append(alice.Keys, lease.ServerKey{Server: id(n), Key: grid.PublicKey{byte(n + 1)}})
	}
	says := func(n int, of grid.PublicKey, age time.Duration, held uint64) UsageReport {
		t.Helper()
		page, err := wire.SignUsagePage(servers[n], wire.UsagePage{
			Server: id(n), Of: of, At: now.Add(-age).Unix(), Delegates: []wire.DelegatedUsage{{Delegate: grid.PublicKey{byte(n + 1)}, Bytes: held, Shares: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return UsageReport{Server: id(n).String(), Asked: now, Pages: [][]byte{page}}
	}
	first := says(0, manager, time.Hour, 100)
	changed := says(1, manager, time.Hour, 100)
	changed.Pages[0][len(changed.Pages[0])-1] ^= 1
	cases := map[string]struct {
		reports []UsageReport
		bytes   int64
		state   tally.State // of the second server
		why     string
	}{
		"honest":         {[]UsageReport{first, says(1, manager, time.Hour, 50)}, 150, tally.Fresh, ""},
		"one left out":   {[]UsageReport{first}, 100, tally.Missing, ""},
		"changed":        {[]UsageReport{first, changed}, 100, tally.Missing, "not signed by that server"},
		"emptied":        {[]UsageReport{first, {Server: id(1).String()}}, 100, tally.Missing, "missing"},
		"another's":      {[]UsageReport{first, {Server: id(1).String(), Pages: first.Pages}}, 100, tally.Missing, "not signed by that server"},
		"old":            {[]UsageReport{first, says(1, manager, 30*time.Hour, 50)}, 150, tally.Stale, ""},
		"old behind new": {[]UsageReport{first, says(1, manager, 0, 50), says(1, manager, 30*time.Hour, 9)}, 150, tally.Fresh, ""},
		"new behind old": {[]UsageReport{first, says(1, manager, 30*time.Hour, 9), says(1, manager, 0, 50)}, 150, tally.Fresh, ""},
		"twice":          {[]UsageReport{first, first, says(1, manager, 0, 50), changed}, 150, tally.Fresh, ""},
		"a smaller part": {[]UsageReport{first, says(1, grid.PublicKey{8}, 0, 50)}, 100, tally.Missing, "below"},
		"of tomorrow":    {[]UsageReport{first, says(1, manager, -24*time.Hour, 50)}, 100, tally.Missing, "later than now"},
		"clocks apart":   {[]UsageReport{first, says(1, manager, -lease.ClockSkew, 50)}, 150, tally.Fresh, ""},
	}
	for name, c := range cases {
		s, err := CheckUsage(export(t, c.reports...), UsageCheck{Of: manager, Members: []Member{alice}, Now: now, Older: 24 * time.Hour})
		if err != nil || s.Bytes != c.bytes || len(s.Servers) != 2 || len(s.Accounts) != 1 || s.Accounts[0].Bytes != c.bytes {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		for _, v := range s.Servers {
			if v.ID == id(1) && (v.State != c.state || !strings.Contains(v.Err, c.why) || (c.why == "") != (v.Err == "")) {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
	for _, bad := range []string{"{", `{"server":"x"}`, "[]"} {
		if _, err := CheckUsage(strings.NewReader(bad), UsageCheck{}); !errors.Is(err, ErrUsageReports) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
