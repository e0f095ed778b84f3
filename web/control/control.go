// Package control lets the commands talk to a node that runs: JSON over HTTP
// on a Unix socket in the node's private folder.
//
// Handler serves a Node; Client is the other end and has the Node's methods,
// with the same errors: what is a sentinel of package tarn in the node is the
// same sentinel in the command. Whoever can open the socket owns the node, so
// there is nothing here to log in to; the socket's mode and that of its folder
// are the protection, and no browser can reach it.
//
// Capabilities and authorities travel in bodies, never in a path, a query or
// a header. A file that could not be read to its end is told from a whole one
// by a trailer; what came before the failure is right.
package control

import (
	"context"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Node is what is served: the part of *tarn.Node that commands use.
type Node interface {
	tarn.DirectoryMaker
	Unlink(ctx context.Context, dir, name string, how ...tarn.Option) (tarn.Entry, error)
	Rename(ctx context.Context, fromDir, from, toDir, to string, replace tarn.Replace, how ...tarn.Option) error
	Put(ctx context.Context, r io.Reader, o tarn.PutOptions) (tarn.PutResult, error)
	CreateMutable(ctx context.Context, r io.Reader, o tarn.MutableOptions) (tarn.MutableResult, error)
	Overwrite(ctx context.Context, capability string, r io.Reader, how ...tarn.Option) (tarn.MutableResult, error)
	Open(ctx context.Context, capability string, how ...tarn.Option) (tarn.File, error)
	Check(ctx context.Context, capability string, o tarn.CheckOptions, how ...tarn.Option) (tarn.CheckResult, error)
	Repair(ctx context.Context, capability string, o tarn.CheckOptions, how ...tarn.Option) (tarn.RepairResult, error)
	Status(ctx context.Context) (tarn.Status, error)
	Servers(ctx context.Context) (tarn.Servers, error)
	OwnUsage(ctx context.Context, how ...tarn.Option) ([]tarn.AccountUsage, []tarn.ServerError, error)
	ReadAuthority(r io.Reader) (lease.Authority, error)
	AddAuthority(ctx context.Context, r io.Reader) (tarn.AuthoritySummary, error)
	RemoveAuthority(ctx context.Context, name string) (tarn.AuthoritySummary, error)
	GridUsage(ctx context.Context, how ...tarn.Option) (tarn.GridUsage, error)
	Leases(ctx context.Context) (tarn.Leases, error)
	RenewLeases(ctx context.Context) (tarn.Leases, error)
	LeasedFiles(ctx context.Context, all bool, yield func(tarn.LeasedFile) error) error
	GiveUp(ctx context.Context, capability string, how ...tarn.Option) ([]tarn.FileLeases, error)
	Keep(ctx context.Context, capability string, how ...tarn.Option) ([]tarn.FileLeases, error)
	Reconcile(ctx context.Context, o tarn.ReconcileOptions, how ...tarn.Option) ([]tarn.Reconciliation, error)
	ReconcileTree(ctx context.Context, roots []string, o tarn.ReconcileTreeOptions, how ...tarn.Option) (tarn.TreeReconciliation, error)
	Operator() (tarn.Operator, error)
	Manager() (tarn.Manager, error)
	Join(ctx context.Context, r tarn.MembershipRef) (tarn.Membership, error)
	Memberships(ctx context.Context) ([]tarn.Membership, error)
	Leave(ctx context.Context, manager grid.ServerID, cancel bool) (tarn.Leaving, error)
	Aggregator() (tarn.Aggregator, error)
	Renewer() (tarn.Renewer, error)
	RenewalCap(ctx context.Context, renewer grid.PublicKey, until time.Time) (c lease.RenewalCap, left int, err error)
	Repairer() (tarn.Repairer, error)
	RepairCap(ctx context.Context, capability string, repairer grid.PublicKey, until time.Time) (lease.RepairCap, error)
	Metrics() prometheus.Gatherer
}

// Paths of the API, version 1. A client of another version gets 404 and says
// that node and command are of different versions.
const (
	pathPut             = "/v1/put"
	pathGet             = "/v1/get"
	pathCheck           = "/v1/check"
	pathMutable         = "/v1/mutable"
	pathRepair          = "/v1/repair"
	pathStatus          = "/v1/status"
	pathKnown           = "/v1/servers"
	pathUsage           = "/v1/usage"
	pathOperator        = "/v1/operator/"
	pathAddAuthority    = "/v1/authority"
	pathRemoveAuthority = "/v1/authority/remove"
	pathGridUsage       = "/v1/usage/grid"
	pathLeases          = "/v1/leases"
	pathRenew           = "/v1/leases/renew"
	pathLeasedFiles     = "/v1/leases/files"
	pathGiveUp          = "/v1/leases/give-up"
	pathKeep            = "/v1/leases/keep"
	pathReconcile       = "/v1/leases/reconcile"
	pathMetrics         = "/metrics"
	pathProfiles        = "/debug/pprof/"
)

// Header names. The trailers of a get say how it ended; headerSize is the
// size in bytes of what a put sends, if it is known, or of what a get answers.
//
// headerAuthority is how many bytes of a put's body, before the file, are the
// authority to use; headerCap and headerKey how many behind those are the capability
// of a mutable file that is to be written, or the private key of a new one.
const (
	headerSize      = "X-Tarn-Size"
	headerAuthority = "X-Tarn-Authority-Size"
	headerCap       = "X-Tarn-Cap-Size"
	headerKey       = "X-Tarn-Key-Size"
	trailerCode     = "X-Tarn-Code"
	trailerError    = "X-Tarn-Error"
)

// codeOK is the trailer of a get that came to its end.
const codeOK = "ok"

// maxObject bounds a JSON object of the API, in bytes: a status with ten
// thousand servers is about a third of it.
const maxObject = 16 << 20

// maxAnswer bounds what a command takes from its own node, in bytes: the keys
// of ten thousand members at a hundred servers are a tenth of it.
const maxAnswer = 2 << 30

// keyText is empty for a key that was never set.
func keyText(k grid.PublicKey) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}
