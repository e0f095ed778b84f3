package web

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

// transferNames are how Tahoe-LAFS's pages about single transfers begin, which
// have a number behind that.
var transferNames = map[tarn.TransferKind]string{tarn.Upload: "up", tarn.Download: "down", tarn.Publish: "publish", tarn.Retrieve: "retrieve"}

func transferName(t tarn.Transfer) string {
	return fmt.Sprintf("%s-%d", transferNames[t.Kind], t.Number)
}

// transfer tells of a single one, as long as it is remembered.
func (q *request) transfer() error {
	active, recent := q.node.Transfers()
	name := q.address.elements[0]
	all := slices.Concat(active, recent)
	i := slices.IndexFunc(all, func(t tarn.Transfer) bool { return transferName(t) == name })
	if i < 0 {
		return wrong{http.StatusNotFound, "There is no such transfer, or it ended too long ago: the last ones are at /status."}
	}
	q.w.Header().Set("Cache-Control", "no-store")
	switch q.args.what() {
	case "json":
		return q.json(transferDetailOf(all[i]))
	case "":
		return q.page(transferPage, transferPageOf(all[i]))
	}
	return badRequest("Unknown t=; there is t=json.")
}

// transferDetail is a transfer with all that is known of it. Times are Unix
// seconds.
type transferDetail struct {
	tahoeTransfer
	Done      int64               `json:"bytes-done"`
	Started   *float64            `json:"started"`
	Finished  *float64            `json:"finished"`
	Happiness *int                `json:"happiness,omitempty"`
	ShareMap  map[string][]string `json:"sharemap,omitempty"`
}

func transferDetailOf(t tarn.Transfer) transferDetail {
	d := transferDetail{tahoeTransfer: tahoeTransferOf(t), Done: t.Done, Started: unixSeconds(t.Started)}
	if !t.Ended.IsZero() {
		d.Finished = unixSeconds(t.Ended)
	}
	if t.Placement != nil {
		d.Happiness, d.ShareMap = new(t.Happiness), map[string][]string{}
	}
	for num, servers := range t.Placement {
		d.ShareMap[num.String()] = names(servers, grid.ServerID.String)
	}
	return d
}

func names(servers []grid.ServerID, name func(grid.ServerID) string) []string {
	var all []string
	for _, id := range servers {
		all = append(all, name(id))
	}
	return all
}

// timeText is a time for people.
func timeText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// transferPageView is the page of a transfer.
type transferPageView struct {
	Title, Here, State string
	Ended              bool
	Facts              []fact
	Shares             []placedShare
}

type placedShare struct{ Num, Servers string }

func transferPageOf(t tarn.Transfer) transferPageView {
	v := transferPageView{
		Title: fmt.Sprintf("%s %d", t.Kind, t.Number), Here: "/" + rootStatus + "/" + transferName(t), State: transferState(t), Ended: !t.Ended.IsZero(),
		Facts: transferFacts(t),
	}
	for _, num := range slices.Sorted(maps.Keys(t.Placement)) {
		v.Shares = append(v.Shares, placedShare{num.String(), strings.Join(names(t.Placement[num], grid.ServerID.Short), ", ")})
	}
	return v
}

func transferFacts(t tarn.Transfer) []fact {
	var facts []fact
	add := func(name, value string) { facts = append(facts, fact{name, value}) }
	if t.StorageIndex != (grid.StorageIndex{}) {
		add("Storage index", t.StorageIndex.String())
	}
	if t.Size >= 0 {
		add("Size", grid.FormatSize(t.Size))
		add("Done", fmt.Sprintf("%s, %.0f%%", grid.FormatSize(t.Done), 100*transferred(t)))
	} else {
		add("Done", grid.FormatSize(t.Done))
	}
	add("Started", timeText(t.Started))
	until := t.Ended
	if until.IsZero() {
		until = time.Now()
	} else {
		add("Ended", timeText(until))
	}
	took := until.Sub(t.Started)
	add("Took", took.Round(time.Millisecond).String())
	if took > 0 && t.Done > 0 {
		add("Rate", grid.FormatSize(int64(float64(t.Done)/took.Seconds()))+"/s")
	}
	if t.Placement != nil {
		add("Shares", fmt.Sprint(len(t.Placement)))
		add("Happiness", fmt.Sprint(t.Happiness))
	}
	return facts
}
