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
//   - no capability appears in a header, an error, a title or a log.
package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
)

// Node is what the gateway needs of *tarn.Node.
type Node interface {
	Put(ctx context.Context, r io.Reader, o tarn.PutOptions) (tarn.PutResult, error)
	Open(ctx context.Context, capability string, how ...tarn.Option) (tarn.File, error)
	Status(ctx context.Context) (tarn.Status, error)
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
// it takes.
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
	node Node
	log  *slog.Logger
}

// Gateway serves node.
func Gateway(node Node, o Options) http.Handler {
	g := &gateway{node: node, log: logger(o.Log)}
	return guard(http.HandlerFunc(g.route), o.Hosts)
}

// route is done by hand: http.ServeMux redirects what it takes for an unclean
// path, and a capability would stand in that redirect.
func (g *gateway) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	capability, isFile := cutCap(path)
	switch {
	case path == "/":
		g.only(w, r, g.welcome, http.MethodGet, http.MethodHead)
	case path == stylePath:
		g.only(w, r, serveStyle, http.MethodGet, http.MethodHead)
	case path == "/uri":
		g.only(w, r, g.put, http.MethodPut)
	case isFile:
		g.only(w, r, func(w http.ResponseWriter, r *http.Request) { g.get(w, r, capability) }, http.MethodGet, http.MethodHead)
	default:
		fail(w, http.StatusNotFound, "There is nothing here. Files are at /uri/ followed by their capability.")
	}
}

func (g *gateway) only(w http.ResponseWriter, r *http.Request, h http.HandlerFunc, methods ...string) {
	for _, m := range methods {
		if r.Method == m {
			h(w, r)
			return
		}
	}
	for _, m := range methods {
		w.Header().Add("Allow", m)
	}
	fail(w, http.StatusMethodNotAllowed, "This address does not take "+methodName(r.Method)+" requests.")
}

// methodName repeats no more of a request than a method that is known.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return method
	}
	return "such"
}
