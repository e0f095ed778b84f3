package web

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

// tahoeStatistics is what Tahoe's GET /statistics?t=json answers
// (allmydata/web/status.py), as far as it makes sense here.
type tahoeStatistics struct {
	Stats    map[string]float64 `json:"stats"`
	Counters map[string]float64 `json:"counters"`
}

// counterNames are Tahoe's names of the node's counters.
var counterNames = map[string]string{
	"tarn_put_files_total":      "uploader.files_uploaded",
	"tarn_put_bytes_total":      "uploader.bytes_uploaded",
	"tarn_get_files_total":      "downloader.files_downloaded",
	"tarn_get_bytes_total":      "downloader.bytes_downloaded",
	"tarn_publish_files_total":  "mutable.files_published",
	"tarn_retrieve_files_total": "mutable.files_retrieved",
}

// statistics are what the node counted since it was started.
func (q *request) statistics() error {
	s, err := q.countedSoFar()
	if err != nil {
		return err
	}
	switch q.args.what() {
	case "json":
		q.w.Header().Set("Cache-Control", "no-store")
		return q.json(s)
	case "":
		return q.page(infoPage, statisticsView(s))
	}
	return badRequest("Unknown t=; there is t=json.")
}

func (q *request) countedSoFar() (tahoeStatistics, error) {
	status, err := q.node.Status(q.r.Context())
	if err != nil {
		return tahoeStatistics{}, err
	}
	s := tahoeStatistics{Stats: map[string]float64{}, Counters: map[string]float64{}}
	if !status.Started.IsZero() {
		s.Stats["node.uptime"] = time.Since(status.Started).Seconds()
	}
	for _, name := range counterNames {
		s.Counters[name] = 0
	}
	families, err := q.node.Metrics().Gather()
	if err != nil {
		return s, fmt.Errorf("count: %w", err)
	}
	for _, f := range families {
		if name := counterNames[f.GetName()]; name != "" && len(f.GetMetric()) > 0 {
			s.Counters[name] = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return s, nil
}

func statisticsView(s tahoeStatistics) infoView {
	count := func(name string) string { return strconv.FormatFloat(s.Counters[name], 'f', 0, 64) }
	size := func(name string) string { return grid.FormatSize(int64(s.Counters[name])) }
	up := time.Duration(s.Stats["node.uptime"] * float64(time.Second)).Round(time.Second)
	return infoView{
		Title: "Statistics",
		Facts: []fact{
			{"Running for", up.String()},
			{"Files stored", count("uploader.files_uploaded")}, {"Bytes stored", size("uploader.bytes_uploaded")},
			{"Files read", count("downloader.files_downloaded")}, {"Bytes read", size("downloader.bytes_downloaded")},
			{"Versions of mutable files written", count("mutable.files_published")}, {"Readings of mutable files", count("mutable.files_retrieved")},
		},
		Links: []step{{"As JSON", "/" + rootStatistics + "?t=json"}},
	}
}

// tahoeHelper is what Tahoe's GET /helper_status?t=json answers for a helper
// (allmydata/immutable/offloaded.py), as far as it makes sense here.
type tahoeHelper struct {
	Active   int   `json:"chk_upload_helper.active_uploads"`
	Incoming int64 `json:"chk_upload_helper.incoming_size"`
}

// helperStatus is how the node's helper is; of a node without one it is empty.
func (q *request) helperStatus() error {
	status, err := q.node.Status(q.r.Context())
	if err != nil {
		return err
	}
	h := status.Helper
	q.w.Header().Set("Cache-Control", "no-store")
	switch what := q.args.what(); {
	case what == "json" && h == nil:
		return q.json(struct{}{})
	case what == "json":
		return q.json(tahoeHelper{h.Jobs, h.Spooled})
	case what == "":
		return q.page(infoPage, helperView(h))
	}
	return badRequest("Unknown t=; there is t=json.")
}

func helperView(h *tarn.HelperStatus) infoView {
	v := infoView{Title: "Helper", Facts: []fact{{"Helper", "This node is none."}}, Links: []step{{"As JSON", "/" + rootHelper + "?t=json"}}}
	if h != nil {
		v.Facts = []fact{
			{"Files on their way", strconv.Itoa(h.Jobs)}, {"Clients connected", strconv.Itoa(h.Sessions)},
			{"Kept until it is placed", fmt.Sprintf("%s of at most %s", grid.FormatSize(h.Spooled), grid.FormatSize(h.Space))},
		}
	}
	return v
}
