package control

import (
	"context"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
)

// reconcileTreeRequest is tarn.ReconcileTreeOptions as JSON, with the roots and
// an authority.
type reconcileTreeRequest struct {
	Roots             []Place   `json:"roots"`
	Fix               bool      `json:"fix,omitempty"`
	CancelUnreachable bool      `json:"cancel_unreachable,omitempty"`
	StoredBefore      time.Time `json:"stored_before,omitzero"`
	Authority         string    `json:"authority,omitempty"`
}

// TreeDifference is tarn.TreeDifference as JSON.
type TreeDifference struct {
	Kind         string    `json:"kind"`
	StorageIndex string    `json:"storage_index"`
	VerifyCap    string    `json:"verify_cap,omitempty"`
	Size         int64     `json:"size,omitempty"`
	Stored       time.Time `json:"stored,omitzero"`
	Path         []string  `json:"path,omitempty"`
	Root         int       `json:"root"`
	Mended       string    `json:"mended,omitempty"`
	Error        string    `json:"error,omitempty"`
}

// TreeReconciliation is tarn.TreeReconciliation as JSON.
type TreeReconciliation struct {
	Reachable        int64 `json:"reachable"`
	Listed           int64 `json:"listed"`
	Recent           int64 `json:"recent"`
	Unreachable      int64 `json:"unreachable"`
	Unleased         int64 `json:"unleased"`
	UnreachableBytes int64 `json:"unreachable_bytes"`
	Mended           int64 `json:"mended"`
	Unread           int64 `json:"unread"`
}

func treeDifferenceOf(d tarn.TreeDifference) *TreeDifference {
	return &TreeDifference{
		Kind: d.Kind.String(), StorageIndex: d.StorageIndex.String(), VerifyCap: d.VerifyCap, Size: d.Size, Stored: d.Stored,
		Path: d.Path, Root: d.Root, Mended: d.Mended, Error: errorText(d.Err),
	}
}

// reconcileTree compares the journal with what can be reached.
func (s *server) reconcileTree(w http.ResponseWriter, r *http.Request) {
	var ask reconcileTreeRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	var roots []string
	for _, p := range ask.Roots {
		at, err := s.follow(r.Context(), p.Cap, p.Path, how)
		if err != nil {
			reply(w, nil, err)
			return
		}
		roots = append(roots, at.Capability().String())
	}
	out := newTreeWriter(w)
	result, err := s.node.ReconcileTree(r.Context(), roots, tarn.ReconcileTreeOptions{
		Fix: ask.Fix, CancelUnreachable: ask.CancelUnreachable, StoredBefore: ask.StoredBefore,
		Found:    func(d tarn.TreeDifference) error { return out.event(treeEvent{Difference: treeDifferenceOf(d)}) },
		Unread:   out.unread,
		Progress: func(objects int64) { out.progress(objects, 0) },
	}, how...)
	reconciled := TreeReconciliation(result)
	out.end(TreeEnd{Reconciled: &reconciled}, err)
}

// ReconcileTreeOptions of a client.
type ReconcileTreeOptions struct {
	Fix, CancelUnreachable bool
	StoredBefore           time.Time
	// Found and Unread are called for each difference, and for each directory that
	// can't be read; Progress, if not nil, now and then.
	Found    func(TreeDifference) error
	Unread   func(UnreadDirectory) error
	Progress func(TreeProgress)
}

// ReconcileTree compares the journal with all that can be reached from places.
func (c *Client) ReconcileTree(ctx context.Context, roots []Place, o ReconcileTreeOptions) (TreeReconciliation, error) {
	ask := reconcileTreeRequest{roots, o.Fix, o.CancelUnreachable, o.StoredBefore, string(c.authority)}
	end, err := c.tree(ctx, pathReconcileTree, ask, func(e treeEvent) error {
		switch {
		case e.Difference != nil:
			return o.Found(*e.Difference)
		case e.Unread != nil:
			return o.Unread(*e.Unread)
		case e.Progress != nil && o.Progress != nil:
			o.Progress(*e.Progress)
		}
		return nil
	})
	if err != nil || end.Reconciled == nil {
		return TreeReconciliation{}, err
	}
	return *end.Reconciled, nil
}
