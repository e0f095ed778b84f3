package control_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// spoilt is a file of which one share is damaged and one server is away.
func spoilt() tarn.CheckResult {
	one, two := grid.ServerID{1}, grid.ServerID{2}
	return tarn.CheckResult{
		Report: health.Report{
			StorageIndex: grid.StorageIndex{9}, Needed: 1, Happy: 2, Total: 2, Verified: true,
			Good:       []health.Copy{{Server: one}},
			Corrupt:    []health.Fault{{Copy: health.Copy{Server: one, Num: 1}, Err: errors.New("a bit is another one")}},
			Responding: []grid.ServerID{one}, Silent: []health.Silence{{Server: two, Err: errors.New("away")}},
		},
		Names:  map[grid.ServerID]string{one: "s1", two: "s2"},
		Leased: 1, Unleased: []tarn.ServerError{{Server: one, Nickname: "s1", Err: lease.ErrNotPermitted}},
	}
}

// What a check found arrives as it was, progress before it.
func TestCheckOverTheSocket(t *testing.T) {
	node := &memnode.Node{Health: memnode.Health{Checks: map[string]tarn.CheckResult{"URI:spoilt": spoilt()}}}
	c := start(t, node, t.TempDir())
	progress := 0
	r, err := c.Check(t.Context(), "URI:spoilt", control.CheckOptions{Verify: true, AddLease: true, Progress: func(_, _ int64) { progress++ }})
	if err != nil || progress != 1 {
		t.Fatal(err, progress)
	}
	if !node.Health.Asked[0].Verify || !node.Health.Asked[0].AddLease {
		t.Errorf("asked %+v", node.Health.Asked)
	}
	if r.Report.Results.Healthy || *r.Report.Happiness != 1 || r.Report.Results.SharesExpected != 2 || !r.Verified || r.Happy != 2 || r.Leased != 1 {
		t.Errorf("%+v", r)
	}
	if len(r.Corrupt) != 1 || r.Corrupt[0].Nickname != "s1" || r.Corrupt[0].Number != 1 || r.Corrupt[0].Error != "a bit is another one" {
		t.Errorf("corrupt: %+v", r.Corrupt)
	}
	if len(r.Silent) != 1 || r.Silent[0].Nickname != "s2" || len(r.Unleased) != 1 {
		t.Errorf("silent %+v, unleased %+v", r.Silent, r.Unleased)
	}
	if _, err := c.Check(t.Context(), "URI:other", control.CheckOptions{}); !errors.Is(err, tarn.ErrCap) {
		t.Errorf("a file that there is not: %v", err)
	}
	if _, err := c.Under([]byte("nonsense")).Check(t.Context(), "URI:spoilt", control.CheckOptions{}); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("an authority that is none: %v", err)
	}
}

// So does what became of a repair, and why it was given up.
func TestRepairOverTheSocket(t *testing.T) {
	before := spoilt()
	after := before
	after.Good = append(after.Good[:1:1], health.Copy{Server: grid.ServerID{2}, Num: 1})
	node := &memnode.Node{Health: memnode.Health{Repairs: map[string]tarn.RepairResult{
		"URI:spoilt": {Before: before, After: after, Attempted: true, Pushed: 1, LeftOut: []tarn.ServerError{{Nickname: "s3", Err: errors.New("full")}}, Unrenewed: []grid.ServerID{{2}}},
		"URI:lost":   {Before: before, After: before, Attempted: true, Err: fmt.Errorf("%w: 1 is left", tarn.ErrNotEnoughShares)},
	}}}
	c := start(t, node, t.TempDir())
	r, err := c.Repair(t.Context(), "URI:spoilt", control.CheckOptions{Verify: true, Force: true})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if !*r.Report.Successful || !r.After.Report.Results.Healthy || r.Before.Report.Results.Healthy || r.Pushed != 1 || len(r.LeftOut) != 1 || len(r.Unrenewed) != 1 {
		t.Errorf("%+v", r)
	}
	if asked := node.Health.Asked[0]; !asked.Verify || !asked.Force {
		t.Errorf("asked %+v", asked)
	}
	r, err = c.Repair(t.Context(), "URI:lost", control.CheckOptions{})
	if err != nil || !errors.Is(r.Err(), tarn.ErrNotEnoughShares) || *r.Report.Successful {
		t.Errorf("%+v, %v", r, err)
	}
}
