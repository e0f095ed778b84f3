package health_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
)

func server(n byte) grid.ServerID { return grid.ServerID{n} }

// at makes a report of a 3-of-10 file that should be on 7 servers, from the
// shares at each.
func at(shares ...[]grid.ShareNum) health.Report {
	r := health.Report{StorageIndex: grid.StorageIndex{1}, Needed: 3, Happy: 7, Total: 10}
	for i, nums := range shares {
		for _, n := range nums {
			r.Good = append(r.Good, health.Copy{Server: server(byte(i)), Num: n})
		}
		r.Responding = append(r.Responding, server(byte(i)))
	}
	return r
}

// nums is from up to, not including, to.
func nums(from, to grid.ShareNum) (list []grid.ShareNum) {
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}

func each(n grid.ShareNum) (shares [][]grid.ShareNum) {
	for i := range n {
		shares = append(shares, []grid.ShareNum{i})
	}
	return shares
}

func TestReport(t *testing.T) {
	with := func(r health.Report, change func(*health.Report)) health.Report {
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		report               health.Report
		shares, happiness    int
		healthy, recoverable bool
		summary              string
		missing              int
	}{
		"one at each server":      {at(each(10)...), 10, 10, true, true, "Healthy", 0},
		"two at some":             {at(append(each(6), nums(6, 10))...), 10, 7, true, true, "Healthy", 0},
		"all at one server":       {at(nums(0, 10)), 10, 1, false, true, "Not Healthy: 10 shares (enc 3-of-10), happiness 1 of 7", 0},
		"all at each of two":      {at(nums(0, 10), nums(0, 10)), 10, 2, false, true, "Not Healthy: 10 shares (enc 3-of-10), happiness 2 of 7", 0},
		"one is missing":          {at(each(9)...), 9, 9, false, true, "Not Healthy: 9 shares (enc 3-of-10)", 1},
		"as many as are needed":   {at(each(3)...), 3, 3, false, true, "Not Healthy: 3 shares (enc 3-of-10), happiness 3 of 7", 7},
		"one fewer":               {at(each(2)...), 2, 2, false, false, "Not Healthy: 2 shares (enc 3-of-10), unrecoverable", 8},
		"the same one six times":  {at([]grid.ShareNum{1}, []grid.ShareNum{1}, []grid.ShareNum{1}), 1, 1, false, false, "Not Healthy: 1 share (enc 3-of-10), unrecoverable", 9},
		"nothing":                 {at(), 0, 0, false, false, "Not Healthy: 0 shares (enc 3-of-10), unrecoverable", 10},
		"literal":                 {health.Report{Literal: true}, 0, 0, true, true, "Healthy (LIT)", 0},
		"fewer shares than happy": {with(at(each(3)...), func(r *health.Report) { r.Total = 3 }), 3, 3, true, true, "Healthy", 0},
		"corrupt ones besides": {with(at(each(10)...), func(r *health.Report) {
			r.Corrupt = []health.Fault{{Copy: health.Copy{Server: server(11), Num: 4}, Err: errors.New("bad")}}
		}), 10, 10, true, true, "Healthy", 0},
		"another version besides": {with(at(each(10)...), func(r *health.Report) {
			r.Wrong = []health.Copy{{Server: server(11), Num: 4, Version: "seq1-aaaa"}}
			r.Others = []health.Version{{Name: "seq1-aaaa", Needed: 3, Total: 10, Shares: 1}}
		}), 10, 10, false, true, "Not Healthy: 10 shares (enc 3-of-10), 1 other version", 0},
		"a newer version in pieces": {with(at(each(10)...), func(r *health.Report) {
			r.Others = []health.Version{{Name: "seq3-aaaa", Needed: 3, Total: 10, Shares: 1, Newer: true}, {Name: "seq1-aaaa", Needed: 3, Total: 10, Shares: 1}}
		}), 10, 10, false, true, "Not Healthy: 10 shares (enc 3-of-10), 1 newer version that can't be read, 1 other version", 0},
	} {
		r := c.report
		if r.Shares() != c.shares || r.Happiness() != c.happiness || r.Healthy() != c.healthy || r.Recoverable() != c.recoverable || r.Summary() != c.summary || len(r.Missing()) != c.missing {
			t.Errorf("%s: %d shares, happiness %d, healthy %v, recoverable %v, %q, %v missing", name, r.Shares(), r.Happiness(), r.Healthy(), r.Recoverable(), r.Summary(), r.Missing())
		}
	}
}

func TestGoodAt(t *testing.T) {
	got := at([]grid.ShareNum{5, 2}, nil, []grid.ShareNum{2}).GoodAt()
	if len(got) != 2 || !slices.Equal(got[server(0)], []grid.ShareNum{2, 5}) || !slices.Equal(got[server(2)], []grid.ShareNum{2}) {
		t.Error(got)
	}
}

// text is JSON with names for the servers and the storage index.
func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The keys are those of Tahoe-LAFS's docs/frontends/webapi.rst.
func TestJSON(t *testing.T) {
	r := at([]grid.ShareNum{0, 1}, []grid.ShareNum{1}, nil)
	r.Corrupt = []health.Fault{{Copy: health.Copy{Server: server(2), Num: 7}, Err: errors.New("bad")}}
	one, two, three := server(0).String(), server(1).String(), server(2).String()
	want := `{
 "storage-index": "` + r.StorageIndex.String() + `",
 "summary": "Not Healthy: 2 shares (enc 3-of-10), unrecoverable",
 "happiness": 2,
 "results": {
  "count-happiness": 2,
  "count-shares-good": 2,
  "count-shares-needed": 3,
  "count-shares-expected": 10,
  "count-good-share-hosts": 2,
  "count-wrong-shares": 0,
  "count-recoverable-versions": 0,
  "count-unrecoverable-versions": 1,
  "count-corrupt-shares": 1,
  "list-corrupt-shares": [
   [
    "` + three + `",
    "` + r.StorageIndex.String() + `",
    7
   ]
  ],
  "servers-responding": [
   "` + one + `",
   "` + two + `",
   "` + three + `"
  ],
  "sharemap": {
   "0": [
    "` + one + `"
   ],
   "1": [
    "` + one + `",
    "` + two + `"
   ]
  },
  "recoverable": false,
  "healthy": false
 }
}`
	if got := text(t, r.JSON()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := text(t, health.Report{Literal: true}.JSON()); got != `{
 "storage-index": "",
 "results": {
  "healthy": true
 }
}` {
		t.Errorf("a literal file is %s", got)
	}
}

// Shares of a mutable file are named with their versions.
func TestShareMapOfVersions(t *testing.T) {
	r := health.Report{Mutable: true, Version: "seq2-abcd", Needed: 1, Total: 1, Happy: 1, Good: []health.Copy{{Server: server(1), Version: "seq2-abcd"}}}
	r.Wrong = []health.Copy{{Server: server(2), Version: "seq1-efgh"}}
	r.Others = []health.Version{{Name: "seq3-ijkl", Needed: 2, Shares: 1}, {Name: "seq1-efgh", Needed: 1, Shares: 1}}
	got := r.JSON().Results
	if len(got.ShareMap["seq2-abcd-sh0"]) != 1 || len(got.ShareMap["seq1-efgh-sh0"]) != 1 || got.WrongShares != 1 || got.RecoverableVersions != 2 || got.UnrecoverableVersions != 1 || got.Healthy {
		t.Errorf("%+v", got.Counts)
	}
	nothing := health.Report{Mutable: true, Needed: 3, Total: 10}.JSON().Results
	if nothing.RecoverableVersions != 0 || nothing.UnrecoverableVersions != 0 || nothing.Recoverable {
		t.Errorf("of a file of which nothing was found: %+v", nothing.Counts)
	}
}

func TestJSONOfRepair(t *testing.T) {
	bad, good := at(nums(0, 10)), at(each(10)...)
	for _, c := range []struct {
		pre, post health.Report
		attempted bool
		success   bool
	}{{good, good, false, false}, {bad, good, true, true}, {bad, bad, true, false}} {
		j := health.JSONOfRepair(c.pre, c.post, c.attempted)
		if j.Attempted != c.attempted || *j.Successful != c.success || *j.Happiness != c.post.Happiness() || *j.Pre.Happiness != c.pre.Happiness() || j.Post.Results.Healthy != c.post.Healthy() {
			t.Errorf("%s", text(t, j))
		}
	}
	literal := health.Report{Literal: true}
	if got := text(t, health.JSONOfRepair(literal, literal, false)); got != "{\n \"storage-index\": \"\",\n \"repair-attempted\": false\n}" {
		t.Errorf("a literal file is %s", got)
	}
}
