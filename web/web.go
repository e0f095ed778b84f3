// Package web is the gateway of a node: HTTP with the URLs and answers of
// Tahoe-LAFS (docs/frontends/webapi.rst there), and a page for people.
//
// Gateway serves it over a Node. It has no administration; that is on the
// control socket (web/control). What it promises:
//
//   - only requests that name this gateway as their host are answered, so a
//     page elsewhere can't reach it by pointing a name of its own here;
//   - no page elsewhere can make it store anything, nor fetch anything unless
//     the user follows a link;
//   - nothing that is stored runs as part of it, whatever its type;
//   - an answer that ends as HTTP says is whole, and every byte of one that
//     does not is right;
//   - no capability appears in an error, a title, a log or a referrer, and in a
//     header only where a program asked to be sent on to it.
package web

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/lease"
)

// Node is what the gateway needs of *tarn.Node.
type Node interface {
	tarn.DirectoryMaker
	Put(ctx context.Context, r io.Reader, o tarn.PutOptions) (tarn.PutResult, error)
	PutDirectory(ctx context.Context, d *directory.Directory, o tarn.PutOptions) (tarn.PutResult, error)
	Spool(ctx context.Context, r io.Reader) (tarn.Spooled, error)
	CreateMutable(ctx context.Context, r io.Reader, o tarn.MutableOptions) (tarn.MutableResult, error)
	Overwrite(ctx context.Context, capability string, r io.Reader, how ...tarn.Option) (tarn.MutableResult, error)
	WriteAt(ctx context.Context, capability string, r io.Reader, offset int64, how ...tarn.Option) (tarn.MutableResult, error)
	Unlink(ctx context.Context, dir, name string, how ...tarn.Option) (tarn.Entry, error)
	Rename(ctx context.Context, fromDir, from, toDir, to string, replace tarn.Replace, how ...tarn.Option) error
	Open(ctx context.Context, capability string, how ...tarn.Option) (tarn.File, error)
	Repair(ctx context.Context, capability string, o tarn.CheckOptions, how ...tarn.Option) (tarn.RepairResult, error)
	Check(ctx context.Context, capability string, o tarn.CheckOptions, how ...tarn.Option) (tarn.CheckResult, error)
	Status(ctx context.Context) (tarn.Status, error)
	Transfers() (active, recent []tarn.Transfer)
	ReadAuthority(r io.Reader) (lease.Authority, error)
	Metrics() prometheus.Gatherer
}

// Options of a gateway.
type Options struct {
	// Hosts are names by which it may be addressed besides those of the
	// loopback interface, without port.
	Hosts []string
	// Log receives failures of the node; nil discards.
	Log *slog.Logger
}

// Limits of a connection. Bodies have no time limit: a large file takes what
// it takes; see Bounded.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// maxHeader has room for the longest capability, percent-encoded.
	maxHeader = 256 << 10
)

// Server is an HTTP server for the gateway with these limits.
func Server(gateway http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           gateway,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(logger(log).Handler(), slog.LevelDebug),
	}
}

func logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

type gateway struct {
	node       Node
	log        *slog.Logger
	operations *operations
}

// Gateway serves node.
func Gateway(node Node, o Options) http.Handler {
	g := &gateway{node: node, log: logger(o.Log), operations: newOperations()}
	return Guard(http.HandlerFunc(g.route), o.Hosts, "web.hosts")
}

// route is done by hand: http.ServeMux redirects what it takes for an unclean
// path, and a capability would stand in that redirect.
func (g *gateway) route(w http.ResponseWriter, r *http.Request) {
	a, ok := parseAddress(r.URL.EscapedPath())
	switch {
	case !ok:
		tell(w, r, http.StatusBadRequest, "The address can't be read: names in it are UTF-8, percent-encoded.")
		return
	case slices.Contains(a.elements, ""):
		tell(w, r, http.StatusBadRequest, "There are two slashes in a row in the address, and a name between them can't be empty.")
		return
	}
	if len(a.elements) > maxDepth {
		tell(w, r, http.StatusBadRequest, "The address leads through too many directories.")
		return
	}
	methods := g.methods(a)
	do, known := methods[r.Method]
	switch {
	case known:
		g.handle(w, r, a, do)
	case methods == nil:
		tell(w, r, http.StatusNotFound, "There is nothing here. Files and directories are at /uri/ followed by their capability.")
	default:
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		tell(w, r, http.StatusMethodNotAllowed, "This address does not take "+methodName(r.Method)+" requests.")
	}
}

// methods are what can be done at an address, by method; nil if there is
// nothing.
func (g *gateway) methods(a address) map[string]func(*request) error {
	object := len(a.elements) > 0
	switch a.root {
	case rootURI, rootCap:
		if !object {
			return withHead(map[string]func(*request) error{http.MethodGet: (*request).goTo, http.MethodPut: (*request).putUnlinked, http.MethodPost: (*request).postUnlinked})
		}
		return withHead(map[string]func(*request) error{
			http.MethodGet: (*request).getObject, http.MethodPut: (*request).putObject,
			http.MethodPost: (*request).postObject, http.MethodDelete: (*request).deleteObject,
		})
	case rootNamed, rootFile:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).named})
	case rootOperations:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).operation, http.MethodPost: (*request).operation})
	}
	switch {
	case a.root == rootStatus && !object: // Tahoe's has a slash behind it
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).status})
	case a.root == rootStatus && len(a.elements) == 1:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).transfer})
	case a.root == rootHelper && !object:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).helperStatus})
	case object || a.folder:
		return nil
	case a.root == "":
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).welcome})
	case a.root == rootStyle:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).style})
	case a.root == rootIcon:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).icon})
	case a.root == rootStatistics:
		return withHead(map[string]func(*request) error{http.MethodGet: (*request).statistics, http.MethodPost: (*request).statistics})
	}
	return nil
}

// withHead has HEAD where GET is; net/http leaves the body out.
func withHead(methods map[string]func(*request) error) map[string]func(*request) error {
	methods[http.MethodHead] = methods[http.MethodGet]
	return methods
}

// methodName repeats no more of a request than a method that is known.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return method
	}
	return "such"
}
