package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// Paths of the API, version 1.
const (
	pathManifest      = "/v1/tree/manifest"
	pathDeepCheck     = "/v1/tree/check"
	pathReconcileTree = "/v1/tree/reconcile"
)

// maxTreeRequest bounds a request about a tree, in bytes of JSON; most of it are
// the objects that need not be checked, some 22 bytes for each.
const maxTreeRequest = 1 << 30

// treeRequest asks about all that can be reached from a place.
type treeRequest struct {
	Place
	// Silent wants no line for each object, but the statistics alone.
	Silent   bool `json:"silent,omitempty"`
	Verify   bool `json:"verify,omitempty"`
	AddLease bool `json:"add_lease,omitempty"`
	Repair   bool `json:"repair,omitempty"`
	// Known is the storage indexes, one after the other, of what need not be
	// checked.
	Known     []byte `json:"known,omitempty"`
	Authority string `json:"authority,omitempty"`
}

// treeEvent is a line of the answer: any number with an object, a directory that
// can't be read, a difference or progress, then one that ends it.
type treeEvent struct {
	Object     *tahoe.CheckedLine `json:"object,omitempty"`
	Unread     *UnreadDirectory   `json:"unread,omitempty"`
	Difference *TreeDifference    `json:"difference,omitempty"`
	Progress   *TreeProgress      `json:"progress,omitempty"`
	End        *TreeEnd           `json:"end,omitempty"`
	Error      *errorObject       `json:"error,omitempty"`
}

// UnreadDirectory is one that can't be read, so that what is in it was not come
// to.
type UnreadDirectory struct {
	Path  []string `json:"path"`
	Error string   `json:"error"`
}

// TreeProgress is how many objects have been checked, and how many bytes of
// shares were read for that.
type TreeProgress struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// TreeEnd is what is told at the end: what there is, and how many of those
// objects were not checked because they were found healthy before.
type TreeEnd struct {
	Stats      tarn.DeepStats      `json:"stats"`
	Known      int                 `json:"known"`
	Silent     []SilentServer      `json:"silent,omitempty"`
	Reconciled *TreeReconciliation `json:"reconciled,omitempty"`
}

// SilentServer is one that could not be asked about so many objects, or did not
// answer; Error is why, for the last of them.
type SilentServer struct {
	ServerError
	Objects int `json:"objects"`
}

// treeWriter writes an answer. It may be called from any goroutine.
type treeWriter struct {
	mu      sync.Mutex
	encoder *json.Encoder
	flush   func() error
	flushed time.Time
	ended   bool
}

func newTreeWriter(w http.ResponseWriter) *treeWriter {
	return &treeWriter{encoder: json.NewEncoder(w), flush: http.NewResponseController(w).Flush}
}

// event writes a line, and sends what has gathered now and then.
func (t *treeWriter) event(e treeEvent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.write(e)
}

func (t *treeWriter) write(e treeEvent) error {
	if err := t.encoder.Encode(e); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(t.flushed) >= progressEvery {
		t.flushed = now
		return t.flush()
	}
	return nil
}

func (t *treeWriter) unread(v tarn.Visited, err error) error {
	return t.event(treeEvent{Unread: &UnreadDirectory{v.Path, err.Error()}})
}

// progress can't be written only if the client is gone, which ends what was
// asked for.
func (t *treeWriter) progress(objects, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended && time.Since(t.flushed) >= progressEvery {
		_ = t.write(treeEvent{Progress: &TreeProgress{objects, bytes}})
	}
}

func (t *treeWriter) end(end TreeEnd, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if err != nil {
		_ = t.write(treeEvent{Error: objectOf(err)}) // who asked is gone if this fails
		return
	}
	end.Stats.Done()
	_ = t.write(treeEvent{End: &end})
}

// onTree serves what is asked of a tree.
func (s *server) onTree(do func(context.Context, tarn.Found, treeRequest, *treeWriter, []tarn.Option) (TreeEnd, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask treeRequest
		var how []tarn.Option
		var from tarn.Found
		err := readObjectUpTo(maxTreeRequest, r.Body, &ask)
		if err == nil {
			how, err = s.under(ask.Authority)
		}
		if err == nil {
			from, err = s.follow(r.Context(), ask.Cap, ask.Path, how)
		}
		if err != nil {
			reply(w, nil, err)
			return
		}
		out := newTreeWriter(w)
		end, err := do(r.Context(), from, ask, out, how)
		out.end(end, err)
	}
}

// manifest lists all that can be reached. A directory that can't be read is told,
// unless it is the first one: then there is nothing else to tell.
func (s *server) manifest(ctx context.Context, from tarn.Found, ask treeRequest, out *treeWriter, how []tarn.Option) (end TreeEnd, err error) {
	objects := int64(0)
	err = tarn.Walk(ctx, s.node, from, tarn.Walker{
		Visit: func(v tarn.Visited) error {
			objects++
			out.progress(objects, 0)
			if err := end.Stats.Visit(v); err != nil || ask.Silent {
				return err
			}
			return out.event(treeEvent{Object: &tahoe.CheckedLine{Line: tahoe.LineOf(v)}})
		},
		Enter: end.Stats.Enter,
		Unread: func(v tarn.Visited, err error) error {
			if len(v.Path) == 0 {
				return err
			}
			return out.unread(v, err)
		},
	}, how...)
	return end, err
}

// deepCheck checks all that can be reached.
func (s *server) deepCheck(ctx context.Context, from tarn.Found, ask treeRequest, out *treeWriter, how []tarn.Option) (end TreeEnd, err error) {
	known, err := indexesOf(ask.Known)
	if err != nil {
		return end, err
	}
	err = tarn.DeepCheck(ctx, s.node, from, tarn.DeepCheckOptions{
		Verify: ask.Verify, AddLease: ask.AddLease, Repair: ask.Repair, Progress: out.progress,
		Known: func(si grid.StorageIndex) bool {
			_, found := slices.BinarySearchFunc(known, si, compareIndexes)
			return found
		},
		Walker: tarn.Walker{Visit: end.Stats.Visit, Enter: end.Stats.Enter},
	}, func(e tarn.Examined) error {
		if e.Known {
			end.Known++
			return nil
		}
		end.noteSilent(e.Before)
		line := tahoe.CheckedLineOf(e, ask.Repair)
		return out.event(treeEvent{Object: &line})
	}, how...)
	return end, err
}

// noteSilent counts the servers that could not be asked.
func (t *TreeEnd) noteSilent(r tarn.CheckResult) {
	for _, s := range silentOf(r.Silent, r.Names) {
		i, known := slices.BinarySearchFunc(t.Silent, s.Server, func(have SilentServer, want string) int { return strings.Compare(have.Server, want) })
		if !known {
			t.Silent = slices.Insert(t.Silent, i, SilentServer{})
		}
		t.Silent[i] = SilentServer{s, t.Silent[i].Objects + 1}
	}
}

// indexesOf takes storage indexes apart, and sorts them.
func indexesOf(text []byte) ([]grid.StorageIndex, error) {
	size := len(grid.StorageIndex{})
	if len(text)%size != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no storage indexes", ErrRequest, len(text))
	}
	list := make([]grid.StorageIndex, 0, len(text)/size)
	for part := range slices.Chunk(text, size) {
		list = append(list, grid.StorageIndex(part))
	}
	slices.SortFunc(list, compareIndexes)
	return list, nil
}

func compareIndexes(a, b grid.StorageIndex) int { return bytes.Compare(a[:], b[:]) }

// DeepCheckOptions of a client.
type DeepCheckOptions struct {
	Verify, AddLease, Repair bool
	// Known is the storage indexes, one after the other, of what was found healthy
	// before and need not be checked.
	Known []byte
	// Progress, if not nil, is called now and then.
	Progress func(TreeProgress)
}

// ManifestOptions of a client.
type ManifestOptions struct {
	// Object, if not nil, is called for each object.
	Object func(tahoe.Line) error
	// Unread is called for each directory that can't be read.
	Unread func(UnreadDirectory) error
	// Progress, if not nil, is called now and then with how many objects there
	// are so far.
	Progress func(TreeProgress)
}

// Manifest goes through all that can be reached from a place.
func (c *Client) Manifest(ctx context.Context, p Place, o ManifestOptions) (TreeEnd, error) {
	return c.tree(ctx, pathManifest, treeRequest{Place: p, Silent: o.Object == nil, Authority: string(c.authority)}, func(e treeEvent) error {
		switch {
		case e.Unread != nil:
			return o.Unread(*e.Unread)
		case e.Object != nil && o.Object != nil:
			return o.Object(e.Object.Line)
		case e.Progress != nil && o.Progress != nil:
			o.Progress(*e.Progress)
		}
		return nil
	})
}

// DeepCheck checks all that can be reached from a place, and yields what was
// found of each object.
func (c *Client) DeepCheck(ctx context.Context, p Place, o DeepCheckOptions, yield func(tahoe.CheckedLine) error) (TreeEnd, error) {
	ask := treeRequest{Place: p, Verify: o.Verify, AddLease: o.AddLease, Repair: o.Repair, Known: o.Known, Authority: string(c.authority)}
	return c.tree(ctx, pathDeepCheck, ask, func(e treeEvent) error {
		switch {
		case e.Object != nil:
			return yield(*e.Object)
		case e.Progress != nil && o.Progress != nil:
			o.Progress(*e.Progress)
		}
		return nil
	})
}

// tree asks, reads an answer, and hands on all of it but the end.
func (c *Client) tree(ctx context.Context, path string, ask any, take func(treeEvent) error) (TreeEnd, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return TreeEnd{}, fmt.Errorf("encode the request: %w", err)
	}
	response, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(body), nil)
	if err != nil {
		return TreeEnd{}, err
	}
	defer response.Body.Close()
	lines := json.NewDecoder(response.Body)
	for {
		var e treeEvent
		if err := lines.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return TreeEnd{}, context.Cause(ctx)
			}
			return TreeEnd{}, brokenOff(err)
		}
		switch {
		case e.Error != nil:
			return TreeEnd{}, e.Error.err()
		case e.End != nil:
			return *e.End, nil
		}
		if err := take(e); err != nil {
			return TreeEnd{}, err
		}
	}
}

func (s *server) handleTrees(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathManifest, s.onTree(s.manifest))
	mux.HandleFunc("POST "+pathDeepCheck, s.onTree(s.deepCheck))
	mux.HandleFunc("POST "+pathReconcileTree, s.reconcileTree)
}
