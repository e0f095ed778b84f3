package tarn

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
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
	r := tally.Report{Server: grid.ServerID{1}, Nickname: "cellar", At: 7, Rows: []tally.Row{{Key: grid.PublicKey{2}, Bytes: 3, Reserved: 4, Shares: 5}, {Key: grid.PublicKey{6}}}}
	must(f.SaveReport(r))
	must(f.SaveReport(r))
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
		path := f.reports(grid.ServerID{1}.String() + usageSuffix)
		must(os.WriteFile(path, []byte(bad), 0o600))
		if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	must(writeUsage(f.reports("x"+usageSuffix), reportRecord{Format: 2}))
	must(os.Remove(f.reports(grid.ServerID{1}.String() + usageSuffix)))
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a newer format: %v", err)
	}
	must(writeUsage(f.reports("x"+usageSuffix), reportRecord{Format: 1, Server: grid.ServerID{1}.String(), Rows: []rowRecord{{Key: []byte("short")}}}))
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged row: %v", err)
	}
}
