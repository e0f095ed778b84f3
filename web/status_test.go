package web_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
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
	for _, part := range []string{si, "25%", "4kB", "not known", "Failed: nobody has &lt;it&gt;", begun.Local().Format("2006-01-02 15:04:05 MST"), `href="/status/down-0"`} {
		ask(t, "GET", address+"/status", nil).want(t, 200, part)
	}
	ask(t, "GET", address+"/status?t=odd", nil).want(t, 400, "Unknown")
	post(t, address+"/status", "").want(t, 405, "POST")
	ask(t, "GET", start(t, &memnode.Node{})+"/status?t=json", nil).want(t, 200, "{\n \"active\": [],\n \"recent\": []\n}")
}

// TestTransfer: each transfer has a page, under the name that it has in Tahoe-LAFS.
func TestTransfer(t *testing.T) {
	begun := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	one := grid.StorageIndex{1}
	server := grid.ServerID{7}
	node := &memnode.Node{
		Moving: []tarn.Transfer{{Kind: tarn.Retrieve, Number: 4, StorageIndex: one, Size: -1, Done: 100, Started: begun}},
		Moved: []tarn.Transfer{
			{Kind: tarn.Upload, Number: 3, StorageIndex: one, Size: 4e6, Done: 4e6, Started: begun, Ended: begun.Add(2 * time.Second), Happiness: 1,
				Placement: map[grid.ShareNum][]grid.ServerID{10: {server}, 2: {server, {8}}}},
			{Kind: tarn.Publish, Number: 0, Size: 10, Started: begun, Ended: begun, Err: errors.New("nobody has <it>")},
		},
	}
	address := start(t, node)
	page := ask(t, "GET", address+"/status/up-3", nil)
	for _, part := range []string{"upload 3", "Finished", one.String(), "4MB, 100%", "2s", "2MB/s", begun.Add(2 * time.Second).Local().Format("2006-01-02 15:04:05 MST"), server.Short() + ", " + grid.ServerID{8}.Short(), "<title>upload 3"} {
		page.want(t, 200, part)
	}
	if two, ten := strings.Index(string(page.body), `<th scope="row">share 2<`), strings.Index(string(page.body), `<th scope="row">share 10<`); two < 0 || ten < two {
		t.Errorf("shares are out of order: %d, %d", two, ten)
	}
	var got map[string]any
	if err := json.Unmarshal(ask(t, "GET", address+"/status/up-3?t=json", nil).body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "upload", "storage-index-string": one.String(), "total-size": 4e6, "status": "Finished", "progress-hash": 1.0, "progress-ciphertext": 1.0,
		"progress-encode-push": 1.0, "bytes-done": 4e6, "started": float64(begun.Unix()), "finished": float64(begun.Unix() + 2), "happiness": 1.0,
		"sharemap": map[string]any{"2": []any{server.String(), grid.ServerID{8}.String()}, "10": []any{server.String()}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	ask(t, "GET", address+"/status/retrieve-4", nil).want(t, 200, "Look again")
	ask(t, "GET", address+"/status/retrieve-4?t=json", nil).want(t, 200, "\"finished\": null")
	ask(t, "GET", address+"/status/publish-0", nil).want(t, 200, "Failed: nobody has &lt;it&gt;")
	for _, name := range []string{"up-4", "down-3", "up-03", "up-", "odd", "mapupdate-0"} {
		ask(t, "GET", address+"/status/"+name, nil).want(t, 404, "no such transfer")
	}
	ask(t, "GET", address+"/status/up-3/more", nil).want(t, 404, "nothing here")
	ask(t, "GET", address+"/status/up-3?t=odd", nil).want(t, 400, "Unknown")
	post(t, address+"/status/up-3", "").want(t, 405, "POST")
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
