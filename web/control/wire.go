package control

import (
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

// Status is tarn.Status as JSON; `tarn status --json` prints it. Times are
// RFC 3339, sizes bytes, durations milliseconds.
type Status struct {
	Nickname    string             `json:"nickname"`
	Version     string             `json:"version"`
	Started     time.Time          `json:"started"`
	Introducers []IntroducerStatus `json:"introducers"`
	Servers     []ServerStatus     `json:"servers"`
	Lent        []ServerStatus     `json:"lent,omitempty"` // under authorities that came with requests
	Leases      *LeaseStatus       `json:"leases,omitempty"`
	Onions      []OnionStatus      `json:"onions,omitempty"`
	Storage     *StorageStatus     `json:"storage,omitempty"`
	Introducer  string             `json:"introducer,omitempty"`
	Relay       *RelayStatus       `json:"relay,omitempty"`
	Manager     *ManagerStatus     `json:"manager,omitempty"`
	Helper      *HelperStatus      `json:"helper,omitempty"`
	Renewer     *RenewerStatus     `json:"renewer,omitempty"`
	Repairer    *RepairerStatus    `json:"repairer,omitempty"`
	Control     string             `json:"control,omitempty"`
	Mistakes    []OverrideMistake  `json:"mistakes,omitempty"`
}

// RepairerStatus is the node's own repairer.
type RepairerStatus struct {
	Key       string `json:"key"`
	Files     int    `json:"files"`
	Most      int    `json:"most"`
	Unhealthy int    `json:"unhealthy"`
}

// RenewerStatus is the node's own renewer.
type RenewerStatus struct {
	Key    string `json:"key"`
	Caps   int    `json:"caps"`
	Most   int    `json:"most"`
	Leases int64  `json:"leases"`
	Lapsed int64  `json:"lapsed"`
}

// ManagerStatus is the node's own account manager.
type ManagerStatus struct {
	Key      string   `json:"key"`
	Hints    []string `json:"addresses"`
	Members  int      `json:"members"`
	Sessions int      `json:"sessions"`
}

// RelayStatus is the node's own relay.
type RelayStatus struct {
	Reference string         `json:"reference"`
	Slots     []RelaySlot    `json:"slots"`
	Circuits  []RelayCircuit `json:"circuits"`
	Bytes     uint64         `json:"bytes"`
	Refused   uint64         `json:"refused"`
}

// RelaySlot is a server's reservation on it.
type RelaySlot struct {
	Server   string    `json:"server"`
	Until    time.Time `json:"until"`
	Bytes    uint64    `json:"bytes"`
	Circuits int       `json:"circuits"`
}

// RelayCircuit is a connection that it passes on.
type RelayCircuit struct {
	Server     string    `json:"server"`
	Since      time.Time `json:"since"`
	ToServer   uint64    `json:"to_server"`
	FromServer uint64    `json:"from_server"`
}

// HelperStatus is the node's own helper.
type HelperStatus struct {
	Reference string `json:"reference"`
	Jobs      int    `json:"jobs"`
	Sessions  int    `json:"sessions"`
	Spooled   int64  `json:"spooled"`
	Space     int64  `json:"space"`
}

// IntroducerStatus is one introducer as the node sees it.
type IntroducerStatus struct {
	Reference string    `json:"reference"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

// ServerStatus is one storage server as the node's client sees it.
type ServerStatus struct {
	Server      string    `json:"server"`
	Nickname    string    `json:"nickname"`
	Petname     string    `json:"petname,omitempty"`
	State       string    `json:"state"`
	Since       time.Time `json:"since,omitzero"`
	Address     string    `json:"address,omitempty"`
	Path        string    `json:"path,omitempty"`
	Account     string    `json:"account,omitempty"`
	LoggedIn    bool      `json:"logged_in"`
	RoundTripMS float64   `json:"round_trip_ms,omitempty"`
	LastError   string    `json:"last_error,omitempty"`
	Known       time.Time `json:"known,omitzero"`
	Stale       bool      `json:"stale,omitempty"`
	Room        int64     `json:"room"`
}

// OnionStatus is an onion service of the node's own.
type OnionStatus struct {
	Role      string    `json:"role"`
	Address   string    `json:"address"`
	Up        bool      `json:"up"`
	Since     time.Time `json:"since,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

// LeaseStatus is tarn.LeaseStatus as JSON.
type LeaseStatus struct {
	Files  int64 `json:"files"`
	Leases int64 `json:"leases"`
	Lapsed int64 `json:"lapsed"`
}

// StorageStatus is the node's own storage server.
type StorageStatus struct {
	Server   string   `json:"server"`
	Hints    []string `json:"addresses"`
	Sessions int      `json:"sessions"`
	Free     int64    `json:"free"`
	Reserved int64    `json:"reserved"`
	Accounts int      `json:"accounts"`
}

func statusOf(s tarn.Status) Status {
	out := Status{
		Nickname: s.Nickname, Version: s.Version, Started: s.Started,
		Introducers: make([]IntroducerStatus, len(s.Introducers)),
		Servers:     make([]ServerStatus, len(s.Servers)),
	}
	for i, v := range s.Introducers {
		out.Introducers[i] = IntroducerStatus{v.Ref.String(), v.Connected, v.Since, v.LastError}
	}
	for i, v := range s.Servers {
		out.Servers[i] = serverStatusOf(v)
	}
	for _, v := range s.Lent {
		out.Lent = append(out.Lent, serverStatusOf(v))
	}
	for _, v := range s.Onions {
		out.Onions = append(out.Onions, OnionStatus{v.Role, string(v.Address), v.Up, v.Since, v.LastError})
	}
	if s.Leases != nil {
		out.Leases = new(LeaseStatus(*s.Leases))
	}
	if s.Storage != nil {
		out.Storage = storageStatusOf(*s.Storage)
	}
	if s.Introducer != nil {
		out.Introducer = s.Introducer.String()
	}
	if m := s.Manager; m != nil {
		out.Manager = &ManagerStatus{m.Key.String(), hintTexts(m.Hints), m.Members, m.Sessions}
	}
	if s.Relay != nil {
		out.Relay = relayStatusOf(*s.Relay)
	}
	out.Control, out.Mistakes = keyText(s.Control), mistakesOf(s.Mistakes)
	if h := s.Helper; h != nil {
		out.Helper = &HelperStatus{h.Ref.String(), h.Jobs, h.Sessions, h.Spooled, h.Space}
	}
	if r := s.Renewer; r != nil {
		out.Renewer = &RenewerStatus{r.Key.String(), r.Caps, r.Most, r.Leases, r.Lapsed}
	}
	if r := s.Repairer; r != nil {
		out.Repairer = &RepairerStatus{r.Key.String(), r.Files, r.Most, r.Unhealthy}
	}
	return out
}

func relayStatusOf(r tarn.RelayStatus) *RelayStatus {
	out := &RelayStatus{Reference: r.Ref.String(), Slots: []RelaySlot{}, Circuits: []RelayCircuit{}, Bytes: r.Bytes, Refused: r.Refused}
	for _, s := range r.Slots {
		out.Slots = append(out.Slots, RelaySlot{s.Server.String(), s.Until, s.Bytes, s.Circuits})
	}
	for _, c := range r.Circuits {
		out.Circuits = append(out.Circuits, RelayCircuit{c.Server.String(), c.Since, c.ToServer, c.FromServer})
	}
	return out
}

func hintTexts(hints []grid.Hint) []string {
	texts := make([]string, len(hints))
	for i, h := range hints {
		texts[i] = string(h)
	}
	return texts
}

func serverStatusOf(s tarn.ServerStatus) ServerStatus {
	return ServerStatus{
		Server: s.Server.String(), Nickname: s.Nickname, Petname: s.Petname, Stale: s.Stale, State: s.State, Since: s.Since,
		Address: s.Address, Path: s.Path, Account: keyText(s.Account), LoggedIn: s.LoggedIn,
		RoundTripMS: float64(s.RoundTrip.Microseconds()) / 1000,
		LastError:   s.LastError, Known: s.Known, Room: s.Room,
	}
}

func storageStatusOf(s tarn.StorageStatus) *StorageStatus {
	return &StorageStatus{
		Server: s.Server.String(), Hints: hintTexts(s.Hints), Sessions: s.Sessions,
		Free: s.Free, Reserved: s.Reserved, Accounts: s.Accounts,
	}
}

// OwnUsage is what the node holds, and where that could not be asked.
type OwnUsage struct {
	Accounts []AccountUsage `json:"accounts"`
	Failed   []ServerError  `json:"failed"`
}

// ServerError is a server that did not answer, and why.
type ServerError struct {
	Server   string `json:"server"`
	Nickname string `json:"nickname"`
	Error    string `json:"error"`
}

func ownUsageOf(accounts []tarn.AccountUsage, failed []tarn.ServerError) OwnUsage {
	return OwnUsage{Accounts: listOf(accounts, accountUsageOf), Failed: serverErrorsOf(failed)}
}

func serverErrorsOf(failed []tarn.ServerError) []ServerError {
	out := make([]ServerError, len(failed))
	for i, f := range failed {
		out[i] = ServerError{f.Server.String(), f.Nickname, errorText(f.Err)}
	}
	return out
}

// PutResult is tarn.PutResult as JSON. The placement names, for each share
// number, the servers that hold it.
type PutResult struct {
	Cap       string           `json:"cap"`
	Size      int64            `json:"size"`
	Pushed    int              `json:"pushed"`
	Found     int              `json:"found"`
	Happiness int              `json:"happiness"`
	Placement map[int][]string `json:"placement,omitempty"`
	// Unrenewed are the servers where nobody renews the leases.
	Unrenewed []string      `json:"unrenewed,omitempty"`
	LeftOut   []ServerError `json:"left_out,omitempty"`
	NotHelped string        `json:"not_helped,omitempty"`
}

func putResultOf(r tarn.PutResult) *PutResult {
	out := &PutResult{Cap: r.Cap, Size: r.Size, Pushed: r.Pushed, Found: r.Found, Happiness: r.Happiness, Unrenewed: serverTexts(r.Unrenewed), LeftOut: serverErrorsOf(r.LeftOut)}
	if len(r.Placement) > 0 {
		out.Placement = make(map[int][]string, len(r.Placement))
	}
	if r.NotHelped != nil {
		out.NotHelped = r.NotHelped.Error()
	}
	for number, servers := range r.Placement {
		out.Placement[int(number)] = serverTexts(servers)
	}
	return out
}

func serverTexts(servers []grid.ServerID) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.String()
	}
	return out
}

// progressEvent is a line of the answer to what takes its time: any number with
// progress, then one with result or error.
type progressEvent[R any] struct {
	Done   int64        `json:"done,omitempty"`
	Total  int64        `json:"total,omitempty"`
	Result *R           `json:"result,omitempty"`
	Error  *errorObject `json:"error,omitempty"`
}

// getRequest asks for length bytes from offset on of the file to which a path
// leads; a negative length means to the end.
type getRequest struct {
	Cap       string   `json:"cap"`
	Path      []string `json:"path,omitempty"`
	Offset    int64    `json:"offset,omitempty"`
	Length    int64    `json:"length"`
	Authority string   `json:"authority,omitempty"`
}

// usageRequest asks for what is held under an authority, or under the node's
// own.
type usageRequest struct {
	Authority string `json:"authority,omitempty"`
}
