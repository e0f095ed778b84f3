package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
)

// CheckOptions of a client: those of tarn.Check.
type CheckOptions = tarn.CheckOptions

// CheckResult is tarn.CheckResult as JSON: Report is what Tahoe-LAFS's web API
// says of it, the rest is what that does not say.
type CheckResult struct {
	Report   health.JSON `json:"report"`
	Happy    int         `json:"happy"`
	Verified bool        `json:"verified"`
	// Version is that of a mutable file whose shares count, Others those besides.
	Version  string        `json:"version,omitempty"`
	Others   []Version     `json:"other_versions,omitempty"`
	Corrupt  []ShareFault  `json:"corrupt"`
	Unread   []ShareFault  `json:"unread"`
	Silent   []ServerError `json:"silent"`
	Leased   int           `json:"leased"`
	Unleased []ServerError `json:"unleased"`
}

// Version is one of a mutable file of which shares are there.
type Version struct {
	Name   string `json:"name"`
	Shares int    `json:"shares"`
	Needed int    `json:"needed"`
	Total  int    `json:"total"`
	Newer  bool   `json:"newer"` // than the one that counts, and can't be read
}

// RepairResult is tarn.RepairResult as JSON: Report is what Tahoe-LAFS's web API
// says of it. Code and Error are why it was given up, if it was.
type RepairResult struct {
	Report    health.RepairJSON `json:"report"`
	Before    CheckResult       `json:"before"`
	After     CheckResult       `json:"after"`
	Pushed    int               `json:"pushed"`
	LeftOut   []ServerError     `json:"left_out"`
	Unrenewed []string          `json:"unrenewed"`
	Failure   *errorObject      `json:"failure,omitempty"`
}

// Err is why a repair was given up; nil where it was not.
func (r RepairResult) Err() error {
	if r.Failure == nil {
		return nil
	}
	return r.Failure.err()
}

// ShareFault is a share that does not count, and why.
type ShareFault struct {
	Server   string `json:"server"`
	Nickname string `json:"nickname"`
	Number   int    `json:"number"`
	Error    string `json:"error"`
}

// checkRequest is tarn.CheckOptions as JSON, with the file and an authority.
type checkRequest struct {
	Cap       string `json:"cap"`
	Verify    bool   `json:"verify,omitempty"`
	AddLease  bool   `json:"add_lease,omitempty"`
	Force     bool   `json:"force,omitempty"`
	Authority string `json:"authority,omitempty"`
}

func checkResultOf(c tarn.CheckResult) *CheckResult {
	fault := func(f health.Fault) ShareFault {
		return ShareFault{f.Server.String(), c.Names[f.Server], int(f.Num), errorText(f.Err)}
	}
	return &CheckResult{
		Report: c.JSON(), Happy: c.Happy, Verified: c.Verified, Version: c.Version, Others: listOf(c.Others, versionOf),
		Corrupt: listOf(c.Corrupt, fault), Unread: listOf(c.Unread, fault), Silent: silentOf(c.Silent, c.Names),
		Leased: c.Leased, Unleased: serverErrorsOf(c.Unleased),
	}
}

func versionOf(v health.Version) Version {
	return Version{v.Name, v.Shares, v.Needed, v.Total, v.Newer}
}

func repairResultOf(r tarn.RepairResult) *RepairResult {
	out := &RepairResult{
		Report: health.JSONOfRepair(r.Before.Report, r.After.Report, r.Attempted),
		Before: *checkResultOf(r.Before), After: *checkResultOf(r.After), Pushed: r.Pushed,
		LeftOut: serverErrorsOf(r.LeftOut), Unrenewed: listOf(r.Unrenewed, grid.ServerID.String),
	}
	if r.Err != nil {
		out.Failure = objectOf(r.Err)
	}
	return out
}

func silentOf(list []health.Silence, names map[grid.ServerID]string) []ServerError {
	return listOf(list, func(s health.Silence) ServerError {
		return ServerError{s.Server.String(), names[s.Server], errorText(s.Err)}
	})
}

func (s *server) handleChecks(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathCheck, checking(s, s.node.Check, checkResultOf))
	mux.HandleFunc("POST "+pathRepair, checking(s, s.node.Repair, repairResultOf))
}

// checking answers a checkRequest by what do makes of it, with progress before.
func checking[A, B any](s *server, do func(context.Context, string, tarn.CheckOptions, ...tarn.Option) (A, error), of func(A) *B) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask checkRequest
		how, ok := s.readUnder(w, r, &ask, &ask.Authority)
		if !ok {
			return
		}
		events := &eventWriter[B]{encoder: json.NewEncoder(w), flush: http.NewResponseController(w).Flush}
		result, err := do(r.Context(), ask.Cap, tarn.CheckOptions{Verify: ask.Verify, AddLease: ask.AddLease, Force: ask.Force, Progress: events.progress}, how...)
		events.end(of(result), err)
	}
}

// Check asks every server what it has of a file. Progress, if any, is called
// from this goroutine.
func (c *Client) Check(ctx context.Context, capability string, o CheckOptions) (CheckResult, error) {
	return withProgress[CheckResult](ctx, c, pathCheck, c.checkRequest(capability, o), o.Progress)
}

// Repair checks a file and makes its shares once more, unless it is healthy.
func (c *Client) Repair(ctx context.Context, capability string, o CheckOptions) (RepairResult, error) {
	return withProgress[RepairResult](ctx, c, pathRepair, c.checkRequest(capability, o), o.Progress)
}

func (c *Client) checkRequest(capability string, o CheckOptions) checkRequest {
	return checkRequest{Cap: capability, Verify: o.Verify, AddLease: o.AddLease, Force: o.Force, Authority: string(c.authority)}
}

// withProgress asks for what takes its time.
func withProgress[R any](ctx context.Context, c *Client, path string, ask any, progress func(done, total int64)) (result R, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return result, fmt.Errorf("encode the request: %w", err)
	}
	response, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(body), nil)
	if err != nil {
		return result, err
	}
	defer response.Body.Close()
	result, err = readEvents[R](response.Body, progress)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return result, err
}
