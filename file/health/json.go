package health

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// JSON is a Report as Tahoe-LAFS's web API answers t=check&output=JSON
// (docs/frontends/webapi.rst), with the happiness at the top besides.
type JSON struct {
	StorageIndex string  `json:"storage-index"` // empty for a literal file
	Summary      string  `json:"summary,omitempty"`
	Happiness    *int    `json:"happiness,omitempty"`
	Results      Results `json:"results"`
}

// Results has nothing but Healthy for a literal file.
type Results struct {
	*Counts
	Healthy bool `json:"healthy"`
}

// Counts is what is only said of a file that has shares.
type Counts struct {
	Happiness             int                 `json:"count-happiness"`
	SharesGood            int                 `json:"count-shares-good"`
	SharesNeeded          int                 `json:"count-shares-needed"`
	SharesExpected        int                 `json:"count-shares-expected"`
	GoodShareHosts        int                 `json:"count-good-share-hosts"`
	WrongShares           int                 `json:"count-wrong-shares"`
	RecoverableVersions   int                 `json:"count-recoverable-versions"`
	UnrecoverableVersions int                 `json:"count-unrecoverable-versions"`
	CorruptShares         int                 `json:"count-corrupt-shares"`
	ListCorrupt           [][3]any            `json:"list-corrupt-shares"` // server, storage index, share number
	Responding            []string            `json:"servers-responding"`
	ShareMap              map[string][]string `json:"sharemap"` // servers by share
	Recoverable           bool                `json:"recoverable"`
}

// RepairJSON is what became of a file as Tahoe-LAFS's web API answers
// t=check&repair=true&output=JSON, with the happiness at the end at the top
// besides.
type RepairJSON struct {
	StorageIndex string `json:"storage-index"`
	Attempted    bool   `json:"repair-attempted"`
	Successful   *bool  `json:"repair-successful,omitempty"`
	Happiness    *int   `json:"happiness,omitempty"`
	Pre          *JSON  `json:"pre-repair-results,omitempty"`
	Post         *JSON  `json:"post-repair-results,omitempty"`
}

// JSON is the report for programs.
func (r Report) JSON() JSON {
	j := JSON{Results: Results{Healthy: r.Healthy()}}
	if r.Literal {
		return j
	}
	happiness := r.Happiness()
	j.StorageIndex, j.Summary, j.Happiness = r.StorageIndex.String(), r.Summary(), &happiness
	j.Results.Counts = r.counts(happiness)
	return j
}

func (r Report) counts(happiness int) *Counts {
	c := &Counts{
		Happiness: happiness, SharesGood: r.Shares(), SharesNeeded: r.Needed, SharesExpected: r.Total,
		GoodShareHosts: r.Servers(), WrongShares: len(r.Wrong), Recoverable: r.Recoverable(),
		CorruptShares: len(r.Corrupt), ListCorrupt: [][3]any{}, Responding: names(r.Responding), ShareMap: map[string][]string{},
	}
	c.RecoverableVersions, c.UnrecoverableVersions = r.versions()
	for _, f := range r.Corrupt {
		c.ListCorrupt = append(c.ListCorrupt, [3]any{f.Server.String(), r.StorageIndex.String(), f.Num})
	}
	at := map[string]map[grid.ServerID]bool{}
	for _, copies := range [][]Copy{r.Good, r.Wrong} {
		for _, c := range copies {
			id := c.shareID()
			if at[id] == nil {
				at[id] = map[grid.ServerID]bool{}
			}
			at[id][c.Server] = true
		}
	}
	for id, servers := range at {
		c.ShareMap[id] = names(slices.Collect(maps.Keys(servers)))
	}
	return c
}

// versions counts those that can be read and those that can't. An immutable file
// has one.
func (r Report) versions() (recoverable, unrecoverable int) {
	for _, v := range r.Others {
		if v.Recoverable() {
			recoverable++
		} else {
			unrecoverable++
		}
	}
	switch {
	case r.Recoverable():
		recoverable++
	case !r.Mutable || r.Version != "":
		unrecoverable++
	}
	return recoverable, unrecoverable
}

// shareID names a share among all versions.
func (c Copy) shareID() string {
	if c.Version == "" {
		return c.Num.String()
	}
	return fmt.Sprintf("%s-sh%d", c.Version, c.Num)
}

func names(ids []grid.ServerID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	slices.Sort(list)
	return list
}

// JSONOfRepair is what became of a file, for programs: as it was, whether
// anything was tried, and as it is now.
func JSONOfRepair(pre, post Report, attempted bool) RepairJSON {
	j := RepairJSON{StorageIndex: pre.JSON().StorageIndex, Attempted: attempted}
	if pre.Literal {
		return j
	}
	before, after, healthy := pre.JSON(), post.JSON(), attempted && post.Healthy()
	j.Successful, j.Happiness, j.Pre, j.Post = &healthy, after.Happiness, &before, &after
	return j
}
