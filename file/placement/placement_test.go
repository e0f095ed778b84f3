package placement_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

func rw(shares ...grid.ShareNum) placement.Server { return placement.Server{Shares: shares} }

func ro(shares ...grid.ShareNum) placement.Server {
	return placement.Server{ReadOnly: true, Shares: shares}
}

func input(total, happy int, servers ...placement.Server) placement.Input {
	for i := range servers {
		servers[i].ID = id(i)
	}
	return placement.Input{Total: total, Happy: happy, Servers: servers}
}

// where writes a plan as the number of the server of each share, in order; -
// for none.
func where(total int, p placement.Plan) string {
	out := slices.Repeat([]string{"-"}, total)
	for _, a := range p.Assignments {
		out[a.Share] = fmt.Sprint(int(a.Server[0])<<8 | int(a.Server[1]))
	}
	return strings.Join(out, " ")
}

func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		in    placement.Input
		want  string
		happy int
	}{
		"a new file, one share each": {input(3, 3, rw(), rw(), rw(), rw()), "0 1 2", 3},
		"a new file, fewer servers":  {input(5, 2, rw(), rw()), "0 1 0 1 0", 2},
		"one server":                 {input(3, 1, rw()), "0 0 0", 1},
		"writable and read-only":     {input(2, 1, ro(), rw()), "1 1", 1},
		"no happiness wanted, no server": {
			input(2, 0), "- -", 0},
		"what is nowhere stays so without a writable server": {
			input(4, 2, ro(0), ro(2)), "0 - 1 -", 2},

		// From here on as in Tahoe's test_happiness.py.
		"placement_simple": {input(3, 2, ro(2), rw()), "1 1 0", 2},
		"placement_1": {
			input(10, 10, ro(0), ro(1), ro(2), ro(3), rw(4), rw(5), rw(6), rw(7), rw(8), rw(9), rw(), rw()),
			"0 1 2 3 4 5 6 7 8 9", 10},
		"unhappy":      {input(5, 4, rw(), rw(), rw(), rw()), "0 1 2 3 0", 4},
		"redistribute": {input(4, 4, rw(0), rw(1), rw(2, 3), rw()), "0 1 2 3", 4},

		// And from here on as in its test_upload.py.
		"comment 53": {
			input(10, 4, rw(all(10)...), rw(2), rw(0), rw(1)), "2 3 1 0 0 0 0 0 0 0", 4},
		"comment 187": {input(3, 3, ro(0, 1, 2), ro(0), rw(0)), "1 0 2", 3},
		"ticket 1124": {input(4, 4, rw(0, 1, 2, 3), rw(0, 3), rw(1), rw(2)), "0 2 3 1", 4},
		"some read-only servers": {
			input(10, 4, ro(2), rw(all(10)...), ro(1), ro(0)), "3 2 0 1 1 1 1 1 1 1", 4},
		"all read-only servers": {
			input(10, 4, ro(2), ro(all(10)...), ro(1), ro(0)), "3 2 0 1 1 1 1 1 1 1", 4},

		// Where steps taken one by one would do worse.
		"a read-only server yields what a writable one holds": {
			input(2, 2, ro(0, 1), rw(0)), "1 0", 2},
		"a server that holds only what others must keep takes a new share": {
			input(2, 2, ro(0), rw(0)), "0 1", 2},
		"shares that nobody holds are spread first": {
			input(4, 3, rw(0, 1, 2), rw(), rw()), "0 2 0 1", 3},
		"a share is counted once however many hold it": {
			input(2, 1, ro(0), ro(0), ro(0)), "0 -", 1},
		"a server that holds it comes before earlier ones": {
			input(1, 1, rw(), rw(), rw(0)), "2", 1},
		"the earlier server that holds it": {input(1, 1, rw(), rw(0), rw(0)), "1", 1},
		"a read-only server before an earlier writable one": {
			input(2, 2, rw(0), ro(0)), "1 0", 2},
		"left-over shares go where the fewest are": {
			input(6, 2, rw(0, 1, 2), rw()), "0 0 0 1 1 1", 2},
		"shares of another encoding do not count": {
			input(2, 2, rw(2, 200), rw(255)), "0 1", 2},
		"unordered and doubled shares": {input(3, 2, rw(2, 0, 2, 0), rw()), "0 1 0", 2},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := placement.NewPlan(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if w := where(c.in.Total, got); w != c.want || got.Happiness != c.happy {
				t.Errorf("plan %s with happiness %d, want %s with %d", w, got.Happiness, c.want, c.happy)
			}
		})
	}
}

func TestTooFewServers(t *testing.T) {
	for name, c := range map[string]struct {
		in   placement.Input
		want placement.TooFewServers
	}{
		"nobody": {input(10, 7), placement.TooFewServers{Happy: 7, Total: 10}},
		"not enough": {input(10, 7, rw(), rw(3), ro(), ro(3), ro(4)),
			placement.TooFewServers{Happy: 7, Happiness: 4, Reachable: 5, Writable: 2, Holding: 3, Total: 10}},
		"comment 52": {input(10, 4, rw(1, 2, 3, 4, 5, 6, 7, 8, 9), ro(0), ro(0), ro(0)),
			placement.TooFewServers{Happy: 4, Happiness: 2, Reachable: 4, Writable: 1, Holding: 4, Total: 10}},
		"shares of another encoding": {input(2, 1, ro(2)),
			placement.TooFewServers{Happy: 1, Reachable: 1, Total: 2}},
	} {
		plan, err := placement.NewPlan(c.in)
		var got *placement.TooFewServers
		if !errors.As(err, &got) || *got != c.want {
			t.Errorf("%s: %+v, want %+v", name, err, c.want)
		}
		if len(plan.Assignments) > 0 {
			t.Errorf("%s: a plan as well as an error", name)
		}
	}
}

func TestTooFewServersSaysAllNumbers(t *testing.T) {
	err := &placement.TooFewServers{Happy: 7, Happiness: 3, Reachable: 5, Writable: 2, Holding: 4, Total: 10}
	want := "the file's shares (10) could be placed on 3 distinct servers, 7 needed to be happy; " +
		"of 5 servers considered, 2 can take a share and 4 already hold one"
	if err.Error() != want {
		t.Errorf("%s", err)
	}
	one := &placement.TooFewServers{Happy: 2, Happiness: 1, Reachable: 1, Total: 3}
	if text := one.Error(); !strings.Contains(text, "on 1 distinct server,") || !strings.Contains(text, "of 1 server considered") {
		t.Errorf("%s", text)
	}
}

func TestInvalidInput(t *testing.T) {
	for want, in := range map[string]placement.Input{
		"0 shares in total":               input(0, 0, rw()),
		"-1 shares in total":              input(-1, 0, rw()),
		"257 shares in total":             input(257, 1, rw()),
		"happiness of 4 wanted with 3":    input(3, 4, rw()),
		"happiness of -1 wanted with 3":   input(3, -1, rw()),
		"server aaaqaaaa is listed twice": {Total: 1, Servers: []placement.Server{{ID: id(1)}, {ID: id(1)}}},
	} {
		_, err := placement.NewPlan(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if tooFew := new(placement.TooFewServers); errors.As(err, &tooFew) {
			t.Errorf("%v blames the servers", err)
		}
	}
}

func TestNewPlanLeavesItsInputAlone(t *testing.T) {
	in := input(3, 1, rw(2, 0, 2, 9), ro(1))
	if _, err := placement.NewPlan(in); err != nil {
		t.Fatal(err)
	}
	if want := input(3, 1, rw(2, 0, 2, 9), ro(1)); !reflect.DeepEqual(in, want) {
		t.Errorf("input is now %v", in)
	}
}

// Read-only servers hold prefixes, so that matching them takes long paths.
func TestPlanForTheLargestFile(t *testing.T) {
	var servers []placement.Server
	var readOnly layout
	for i := range 500 {
		if i%5 == 0 {
			servers = append(servers, rw(grid.ShareNum(i%256)))
			continue
		}
		shares := all(1 + (i*i)%64)
		readOnly = append(readOnly, shares)
		servers = append(servers, ro(shares...))
	}
	want := min(256, bestPrefixHappiness(readOnly)+100)
	plan, err := placement.NewPlan(input(256, want, servers...))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Happiness != want || len(plan.Assignments) != 256 {
		t.Errorf("happiness %d of %d with %d shares placed", plan.Happiness, want, len(plan.Assignments))
	}
}
