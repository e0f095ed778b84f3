package tarn

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestUsageFiles(t *testing.T) {
	f := usageFiles{t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if all, err := f.Load(); err != nil || len(all) != 0 {
		t.Fatalf("nothing is %v, %v", all, err)
	}
	server := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	id := grid.ServerID(grid.PublicKeyOf(server))
	page, err := wire.SignUsagePage(server, wire.UsagePage{
		Server: id, Of: grid.PublicKey{9}, At: 6, Delegates: []wire.DelegatedUsage{{Delegate: grid.PublicKey{2}, Bytes: 3, Reserved: 4, Shares: 5}, {Delegate: grid.PublicKey{6}}},
	})
	must(err)
	r := tally.Report{Server: id, Nickname: "cellar", At: 7, Said: 6, Of: grid.PublicKey{9}, Rows: []tally.Row{{Key: grid.PublicKey{2}, Bytes: 3, Reserved: 4, Shares: 5}, {Key: grid.PublicKey{6}}}}
	must(f.SaveReport(r, [][]byte{page}))
	must(f.SaveReport(r, [][]byte{page}))
	if all, err := f.Load(); err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], r) {
		t.Errorf("read %+v, %v", all, err)
	}
	for d := range lease.Day(3) {
		must(f.SaveDay(tally.Day{Day: 20000 + 300*d, Accounts: []tally.DayAccount{{Name: "alice", Bytes: int64(d), Shares: 1}}, Servers: []tally.DayServer{{ID: "v0-x", Old: d == 1}}}))
	}
	days, err := f.days(0)
	if err != nil || len(days) != 2 || days[0].Day != 20300 || days[1].Day != 20600 || days[1].Accounts[0].Bytes != 2 || !days[0].Servers[0].Old {
		t.Errorf("days %+v, %v", days, err)
	}
	if days, err := f.days(20301); err != nil || len(days) != 1 {
		t.Errorf("days %+v, %v", days, err)
	}
	for _, bad := range []string{"not gzip", ""} {
		path := f.reports(id.String() + usageSuffix)
		must(os.WriteFile(path, []byte(bad), 0o600))
		if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	must(writeUsage(f.reports("x"+usageSuffix), reportRecord{Format: 3}))
	must(os.Remove(f.reports(id.String() + usageSuffix)))
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "format 3") {
		t.Errorf("a newer format: %v", err)
	}
	must(writeUsage(f.reports("x"+usageSuffix), reportRecord{Format: 2, Server: id.String(), Pages: [][]byte{page[1:]}}))
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged page: %v", err)
	}
	must(writeUsage(f.reports("x"+usageSuffix), reportRecord{Format: 1, Server: id.String()}))
	if all, err := f.Load(); err != nil || len(all) != 0 {
		t.Errorf("a report that was not signed: %v, %v", all, err)
	}
}
