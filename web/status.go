package web

import (
	"fmt"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

// tahoeStatus is what Tahoe's GET /status?t=json answers
// (allmydata/web/status.py).
type tahoeStatus struct {
	Active []tahoeTransfer `json:"active"`
	Recent []tahoeTransfer `json:"recent"`
}

// tahoeTransfer has null for what is not known. The three progresses of an upload
// and the one of a download go from 0 to 1.
type tahoeTransfer struct {
	Type         string   `json:"type"`
	StorageIndex *string  `json:"storage-index-string"`
	Size         *int64   `json:"total-size"`
	Status       string   `json:"status"`
	Progress     *float64 `json:"progress,omitempty"`
	Hash         *float64 `json:"progress-hash,omitempty"`
	Ciphertext   *float64 `json:"progress-ciphertext,omitempty"`
	EncodePush   *float64 `json:"progress-encode-push,omitempty"`
}

func tahoeTransferOf(t tarn.Transfer) tahoeTransfer {
	out := tahoeTransfer{Type: t.Kind.String(), Status: transferState(t)}
	if t.StorageIndex != (grid.StorageIndex{}) {
		out.StorageIndex = new(t.StorageIndex.String())
	}
	if t.Size >= 0 {
		out.Size = new(t.Size)
	}
	switch part := transferred(t); t.Kind {
	case tarn.Upload: // which is hashed before it is told of
		out.Hash, out.Ciphertext, out.EncodePush = new(1.0), new(part), new(part)
	case tarn.Download:
		out.Progress = new(part)
	}
	return out
}

// transferred is how much of it is done, from 0 to 1.
func transferred(t tarn.Transfer) float64 {
	switch {
	case t.Size > 0:
		return float64(t.Done) / float64(t.Size)
	case t.Ended.IsZero():
		return 0
	}
	return 1
}

func transferState(t tarn.Transfer) string {
	switch {
	case t.Err != nil:
		return "Failed: " + t.Err.Error()
	case !t.Ended.IsZero():
		return "Finished"
	}
	return "Going on"
}

// status tells what is on its way, and what was lately.
func (q *request) status() error {
	active, recent := q.node.Transfers()
	q.w.Header().Set("Cache-Control", "no-store")
	switch q.args.what() {
	case "json":
		return q.json(tahoeStatus{tahoeTransfersOf(active), tahoeTransfersOf(recent)})
	case "":
		return q.page(statusPage, statusView{transferViews(active), transferViews(recent)})
	}
	return badRequest("Unknown t=; there is t=json.")
}

func tahoeTransfersOf(list []tarn.Transfer) []tahoeTransfer {
	all := []tahoeTransfer{}
	for _, t := range list {
		all = append(all, tahoeTransferOf(t))
	}
	return all
}

// statusView is the page of what is on its way.
type statusView struct{ Active, Recent []transferView }

type transferView struct {
	Link                                               string // of the page about it
	Kind, StorageIndex, Size, Progress, State, Started string
}

func transferViews(list []tarn.Transfer) []transferView {
	var all []transferView
	for _, t := range list {
		v := transferView{
			Link: "/" + rootStatus + "/" + transferName(t), Kind: t.Kind.String(), State: transferState(t), Started: timeText(t.Started), Size: "not known",
		}
		if t.StorageIndex != (grid.StorageIndex{}) {
			v.StorageIndex = t.StorageIndex.String()
		}
		if t.Size >= 0 {
			v.Size = grid.FormatSize(t.Size)
			v.Progress = fmt.Sprintf("%.0f%%", 100*transferred(t))
		}
		all = append(all, v)
	}
	return all
}
