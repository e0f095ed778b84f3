package web_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// TestTransfers: the keys are those of Tahoe-LAFS's docs/frontends/webapi.rst.
func TestTransfers(t *testing.T) {
	begun := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	one := grid.StorageIndex{1}
	node := &memnode.Node{
		Moving: []tarn.Transfer{
			{Kind: tarn.Upload, StorageIndex: one, Size: 4000, Done: 1000, Started: begun},
			{Kind: tarn.Download, StorageIndex: one, Size: 200, Done: 100, Started: begun},
			{Kind: tarn.Retrieve, StorageIndex: one, Size: -1, Done: 100, Started: begun},
		},
		Moved: []tarn.Transfer{
			{Kind: tarn.Publish, Size: 10, Done: 10, Started: begun, Ended: begun},
			{Kind: tarn.Download, StorageIndex: one, Started: begun, Ended: begun, Err: errors.New("nobody has <it>")},
		},
	}
	address := start(t, node)
	var got map[string][]map[string]any
	a := ask(t, "GET", address+"/status/?t=json", nil)
	if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != 200 {
		t.Fatal(err, a.StatusCode)
	}
	si := one.String()
	want := map[string][]map[string]any{
		"active": {
			{"type": "upload", "storage-index-string": si, "total-size": 4000.0, "status": "Going on", "progress-hash": 1.0, "progress-ciphertext": 0.25, "progress-encode-push": 0.25},
			{"type": "download", "storage-index-string": si, "total-size": 200.0, "status": "Going on", "progress": 0.5},
			{"type": "retrieve", "storage-index-string": si, "total-size": nil, "status": "Going on"},
		},
		"recent": {
			{"type": "publish", "storage-index-string": nil, "total-size": 10.0, "status": "Finished"},
			{"type": "download", "storage-index-string": si, "total-size": 0.0, "status": "Failed: nobody has <it>", "progress": 1.0},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for _, part := range []string{si, "25%", "4kB", "not known", "Failed: nobody has &lt;it&gt;", "2026-03-01 12:00:00"} {
		ask(t, "GET", address+"/status", nil).want(t, 200, part)
	}
	ask(t, "GET", address+"/status?t=odd", nil).want(t, 400, "Unknown")
	ask(t, "GET", address+"/status/up-1", nil).want(t, 404, "nothing here")
	post(t, address+"/status", "").want(t, 405, "POST")
	ask(t, "GET", start(t, &memnode.Node{})+"/status?t=json", nil).want(t, 200, "{\n \"active\": [],\n \"recent\": []\n}")
}

// TestHelperStatus: a node that is no helper answers with nothing, as Tahoe-LAFS does.
func TestHelperStatus(t *testing.T) {
	address := start(t, &memnode.Node{})
	ask(t, "GET", address+"/helper_status?t=json", nil).want(t, 200, "{}")
	ask(t, "GET", address+"/helper_status", nil).want(t, 200, "This node is none.")
	ask(t, "GET", address+"/helper_status?t=odd", nil).want(t, 400, "Unknown")
	address = start(t, &memnode.Node{Now: tarn.Status{Helper: &tarn.HelperStatus{Jobs: 3, Sessions: 2, Spooled: 5000, Space: 1e9}}})
	ask(t, "GET", address+"/helper_status/?t=json", nil).want(t, 200, "{\n \"chk_upload_helper.active_uploads\": 3,\n \"chk_upload_helper.incoming_size\": 5000\n}")
	ask(t, "GET", address+"/helper_status", nil).want(t, 200, "5kB of at most 1GB")
}
