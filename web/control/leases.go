package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
)

// Leases is tarn.Leases as JSON.
type Leases struct {
	Files   int64          `json:"files"`
	Servers []ServerLeases `json:"servers"`
}

// ServerLeases is tarn.ServerLeases as JSON.
type ServerLeases struct {
	Server   string    `json:"server"`
	Nickname string    `json:"nickname"`
	Leases   int64     `json:"leases"`
	Lapsed   int64     `json:"lapsed"`
	Checked  time.Time `json:"checked,omitzero"`
	Renewed  int       `json:"renewed"`
	Others   int       `json:"others"`
	Refused  int       `json:"refused"`
	Error    string    `json:"error,omitempty"`
}

// LeasedFile is tarn.LeasedFile as JSON.
type LeasedFile struct {
	StorageIndex string        `json:"storage_index"`
	VerifyCap    string        `json:"verify_cap,omitempty"`
	Size         int64         `json:"size,omitempty"`
	Stored       time.Time     `json:"stored,omitzero"`
	Needed       int           `json:"needed,omitempty"`
	Held         int           `json:"held"`
	Shares       []LeasedShare `json:"shares"`
}

// LeasedShare is tarn.LeasedShare as JSON.
type LeasedShare struct {
	Server  string    `json:"server"`
	Number  int       `json:"number"`
	Expires time.Time `json:"expires,omitzero"`
	Lapsed  time.Time `json:"lapsed,omitzero"`
}

// FileLeases is tarn.FileLeases as JSON.
type FileLeases struct {
	Server   string    `json:"server"`
	Nickname string    `json:"nickname"`
	Leases   int       `json:"leases"`
	Expires  time.Time `json:"expires,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// LeaseDifference is tarn.LeaseDifference as JSON.
type LeaseDifference struct {
	Server       string    `json:"server"`
	Nickname     string    `json:"nickname"`
	Kind         string    `json:"kind"`
	StorageIndex string    `json:"storage_index"`
	Number       int       `json:"number"`
	VerifyCap    string    `json:"verify_cap,omitempty"`
	Expires      time.Time `json:"expires,omitzero"`
	Mended       string    `json:"mended,omitempty"`
}

// Reconciliation is tarn.Reconciliation as JSON.
type Reconciliation struct {
	Server   string `json:"server"`
	Nickname string `json:"nickname"`
	There    int64  `json:"there"`
	Known    int64  `json:"known"`
	Unknown  int64  `json:"unknown"`
	Lapsed   int64  `json:"lapsed"`
	Returned int64  `json:"returned"`
	Shorter  int64  `json:"shorter"`
	Mended   int64  `json:"mended"`
	Error    string `json:"error,omitempty"`
}

// GridUsage is tarn.GridUsage as JSON.
type GridUsage struct {
	Bytes    int64            `json:"bytes"`
	Shares   int64            `json:"shares"`
	Reserved int64            `json:"reserved"`
	Below    []DelegatedUsage `json:"below"`
	Servers  []AccountUsage   `json:"servers"`
	Failed   []ServerError    `json:"failed"`
}

func leasesOf(l tarn.Leases) Leases {
	return Leases{Files: l.Files, Servers: listOf(l.Servers, serverLeasesOf)}
}

func serverLeasesOf(s tarn.ServerLeases) ServerLeases {
	return ServerLeases{
		Server: s.Server.String(), Nickname: s.Nickname, Leases: s.Leases, Lapsed: s.Lapsed, Checked: s.Checked,
		Renewed: s.Renewed, Others: s.Others, Refused: s.Refused, Error: errorText(s.Err),
	}
}

func leasedFileOf(f tarn.LeasedFile) *LeasedFile {
	return &LeasedFile{
		StorageIndex: f.StorageIndex.String(), VerifyCap: f.VerifyCap, Size: f.Size, Stored: f.Stored, Needed: f.Needed, Held: f.Held,
		Shares: listOf(f.Shares, func(s tarn.LeasedShare) LeasedShare {
			return LeasedShare{s.Server.String(), int(s.Num), s.Expires, s.Lapsed}
		}),
	}
}

func fileLeasesOf(f tarn.FileLeases) FileLeases {
	return FileLeases{f.Server.String(), f.Nickname, f.Leases, f.Expires, errorText(f.Err)}
}

func differenceOf(d tarn.LeaseDifference) *LeaseDifference {
	return &LeaseDifference{
		Server: d.Server.String(), Nickname: d.Nickname, Kind: d.Kind.String(),
		StorageIndex: d.Share.StorageIndex.String(), Number: int(d.Share.Num),
		VerifyCap: d.VerifyCap, Expires: d.Expires, Mended: d.Mended,
	}
}

func reconciliationOf(r tarn.Reconciliation) Reconciliation {
	return Reconciliation{
		r.Server.String(), r.Nickname, r.There, r.Known, r.Unknown, r.Lapsed, r.Returned, r.Shorter, r.Mended, errorText(r.Err),
	}
}

func gridUsageOf(u tarn.GridUsage) GridUsage {
	return GridUsage{
		Bytes: u.Bytes, Shares: u.Shares, Reserved: u.Reserved, Below: listOf(u.Below, delegatedUsageOf),
		Servers: listOf(u.Servers, accountUsageOf), Failed: serverErrorsOf(u.Failed),
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// leaseEvent is a line of an answer that may be long: any number with a file
// or a difference, then one that ends it.
type leaseEvent struct {
	File       *LeasedFile      `json:"file,omitempty"`
	Difference *LeaseDifference `json:"difference,omitempty"`
	End        *leaseEnd        `json:"end,omitempty"`
	Error      *errorObject     `json:"error,omitempty"`
}

type leaseEnd struct {
	Servers []Reconciliation `json:"servers,omitempty"`
}

// capRequest names a file in the request's body, and the authority to use
// unless it is the node's own.
type capRequest struct {
	Cap       string `json:"cap"`
	Authority string `json:"authority,omitempty"`
}

// reconcileRequest is tarn.ReconcileOptions as JSON, and an authority.
type reconcileRequest struct {
	Fix           bool   `json:"fix"`
	CancelUnknown bool   `json:"cancel_unknown"`
	Authority     string `json:"authority,omitempty"`
}

// handleLeases adds what is about leases.
func (s *server) handleLeases(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathGridUsage, s.gridUsage)
	mux.HandleFunc("GET "+pathLeases, s.leases)
	mux.HandleFunc("POST "+pathRenew, s.renewLeases)
	mux.HandleFunc("GET "+pathLeasedFiles, s.leasedFiles)
	mux.HandleFunc("POST "+pathGiveUp, s.giveUp)
	mux.HandleFunc("POST "+pathKeep, s.keep)
	mux.HandleFunc("POST "+pathReconcile, s.reconcile)
}

func (s *server) leases(w http.ResponseWriter, r *http.Request) {
	l, err := s.node.Leases(r.Context())
	reply(w, leasesOf(l), err)
}

func (s *server) renewLeases(w http.ResponseWriter, r *http.Request) {
	l, err := s.node.RenewLeases(r.Context())
	reply(w, leasesOf(l), err)
}

func (s *server) leasedFiles(w http.ResponseWriter, r *http.Request) {
	lines := json.NewEncoder(w)
	all := r.URL.Query().Get("all") == "true"
	err := s.node.LeasedFiles(r.Context(), all, func(f tarn.LeasedFile) error {
		return lines.Encode(leaseEvent{File: leasedFileOf(f)})
	})
	endLines(lines, &leaseEnd{}, err)
}

func (s *server) giveUp(w http.ResponseWriter, r *http.Request) { s.onFile(w, r, s.node.GiveUp) }

func (s *server) keep(w http.ResponseWriter, r *http.Request) { s.onFile(w, r, s.node.Keep) }

func (s *server) onFile(w http.ResponseWriter, r *http.Request, do func(context.Context, string, ...tarn.Option) ([]tarn.FileLeases, error)) {
	var ask capRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	list, err := do(r.Context(), ask.Cap, how...)
	reply(w, listOf(list, fileLeasesOf), err)
}

func (s *server) reconcile(w http.ResponseWriter, r *http.Request) {
	var ask reconcileRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	lines := json.NewEncoder(w)
	list, err := s.node.Reconcile(r.Context(), tarn.ReconcileOptions{
		Fix: ask.Fix, CancelUnknown: ask.CancelUnknown,
		Found: func(d tarn.LeaseDifference) error { return lines.Encode(leaseEvent{Difference: differenceOf(d)}) },
	}, how...)
	endLines(lines, &leaseEnd{listOf(list, reconciliationOf)}, err)
}

// endLines writes the last line; who asked is gone if that fails.
func endLines(lines *json.Encoder, end *leaseEnd, err error) {
	if err != nil {
		_ = lines.Encode(leaseEvent{Error: objectOf(err)})
		return
	}
	_ = lines.Encode(leaseEvent{End: end})
}

func (s *server) gridUsage(w http.ResponseWriter, r *http.Request) {
	var ask usageRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	u, err := s.node.GridUsage(r.Context(), how...)
	reply(w, gridUsageOf(u), err)
}
