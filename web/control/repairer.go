package control

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Paths for a repairer's operator, and for those whose files it keeps whole.
const (
	pathRepairCap    = "/v1/repair-cap"
	pathAddRepair    = "/v1/repairer/add"
	pathWatched      = "/v1/repairer/list"
	pathCheckNow     = "/v1/repairer/check"
	pathRemoveRepair = "/v1/repairer/remove"
)

// maxRepair bounds a request with repair caps in it, in bytes.
const maxRepair = lease.MaxRepairCapSize + lease.MaxRepairCapSize/32 + maxObject

// Watched is tarn.Watched as JSON.
type Watched struct {
	Name  string        `json:"name"`
	Files []WatchedFile `json:"files"`
}

// WatchedFile is tarn.WatchedFile as JSON.
type WatchedFile struct {
	StorageIndex string    `json:"storage_index"`
	Size         int64     `json:"size"`
	Needed       int       `json:"needed"`
	Total        int       `json:"total"`
	Happy        int       `json:"happy"`
	Added        time.Time `json:"added"`
	Until        time.Time `json:"until,omitzero"`
	Checked      time.Time `json:"checked,omitzero"`
	Verified     time.Time `json:"verified,omitzero"`
	Repaired     time.Time `json:"repaired,omitzero"`
	Next         time.Time `json:"next,omitzero"`
	Shares       int       `json:"shares"`
	Happiness    int       `json:"happiness"`
	Summary      string    `json:"summary,omitempty"`
	Healthy      bool      `json:"healthy"`
	Recoverable  bool      `json:"recoverable"`
	Lost         int       `json:"lost"`
	Pushed       int       `json:"pushed"`
	Trouble      string    `json:"trouble,omitempty"`
}

// RepairCap is the text of a cap, and at how many servers it may be used.
type RepairCap struct {
	Cap     string `json:"cap"`
	Servers int    `json:"servers"`
}

type repairCapRequest struct {
	Cap   string    `json:"cap"`
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

type addRepair struct {
	Name string `json:"name"`
	Caps string `json:"caps"`
}

type watchedName struct {
	Name string `json:"name"`
	// StorageIndex is empty for all.
	StorageIndex string `json:"storage_index,omitempty"`
}

func watchedOf(w tarn.Watched) Watched {
	return Watched{w.Name, listOf(w.Files, func(f tarn.WatchedFile) WatchedFile {
		return WatchedFile{
			StorageIndex: f.StorageIndex.String(), Size: f.Size, Needed: f.Needed, Total: f.Total, Happy: f.Happy,
			Added: f.Added, Until: f.Until, Checked: f.Checked, Verified: f.Verified, Repaired: f.Repaired, Next: f.Next,
			Shares: f.Shares, Happiness: f.Happiness, Summary: f.Summary, Healthy: f.Healthy, Recoverable: f.Recoverable,
			Lost: f.Lost, Pushed: f.Pushed, Trouble: f.Trouble,
		}
	})}
}

func (s *server) handleRepairer(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathRepairCap, answers(maxObject, s.repairCap))
	mux.HandleFunc("POST "+pathAddRepair, handledBy(s.node.Repairer, maxRepair, func(ctx context.Context, r tarn.Repairer, ask addRepair) (Watched, error) {
		added, err := r.Add(ctx, ask.Name, strings.NewReader(ask.Caps))
		return watchedOf(added), err
	}))
	mux.HandleFunc("POST "+pathWatched, handledBy(s.node.Repairer, maxObject, func(ctx context.Context, r tarn.Repairer, _ nothing) ([]Watched, error) {
		list, err := r.List(ctx)
		return listOf(list, watchedOf), err
	}))
	mux.HandleFunc("POST "+pathCheckNow, handledBy(s.node.Repairer, maxObject, func(ctx context.Context, r tarn.Repairer, ask watchedName) (nothing, error) {
		return nothing{}, r.Check(ctx, ask.Name)
	}))
	mux.HandleFunc("POST "+pathRemoveRepair, handledBy(s.node.Repairer, maxObject, func(ctx context.Context, r tarn.Repairer, ask watchedName) (nothing, error) {
		if ask.StorageIndex == "" {
			return nothing{}, r.Remove(ctx, ask.Name, nil)
		}
		si, err := grid.ParseStorageIndex(ask.StorageIndex)
		if err != nil {
			return nothing{}, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		return nothing{}, r.Remove(ctx, ask.Name, &si)
	}))
}

func (s *server) repairCap(ctx context.Context, ask repairCapRequest) (RepairCap, error) {
	key, err := readKey(ask.Key)
	if err != nil {
		return RepairCap{}, err
	}
	c, err := s.node.RepairCap(ctx, ask.Cap, key, ask.Until)
	if err != nil {
		return RepairCap{}, err
	}
	text, err := c.Text()
	return RepairCap{string(text), len(c.Servers())}, err
}

// RepairCap is by what a repairer with that key may keep a file whole until then.
func (c *Client) RepairCap(ctx context.Context, capability string, key grid.PublicKey, until time.Time) (RepairCap, error) {
	var r RepairCap
	return r, c.post(ctx, pathRepairCap, repairCapRequest{capability, key.String(), until}, &r)
}

// AddRepair has the node's repairer look after what the caps in a text are for.
func (c *Client) AddRepair(ctx context.Context, name, text string) (Watched, error) {
	var w Watched
	return w, c.post(ctx, pathAddRepair, addRepair{name, text}, &w)
}

// Watched lists what the node's repairer looks after for whom.
func (c *Client) Watched(ctx context.Context) ([]Watched, error) {
	var list []Watched
	return list, c.post(ctx, pathWatched, nothing{}, &list)
}

// CheckWatched has the node's repairer look at all files under a name now, at all
// where that is empty.
func (c *Client) CheckWatched(ctx context.Context, name string) error {
	return c.post(ctx, pathCheckNow, watchedName{Name: name}, &nothing{})
}

// RemoveRepair has the node's repairer forget a file, or all under a name where
// that is empty.
func (c *Client) RemoveRepair(ctx context.Context, name, storageIndex string) error {
	return c.post(ctx, pathRemoveRepair, watchedName{name, storageIndex}, &nothing{})
}
