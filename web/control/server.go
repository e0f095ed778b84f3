package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Handler serves the API of node.
func Handler(node Node) http.Handler {
	s := &server{node}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathPut, s.put)
	mux.HandleFunc("POST "+pathGet, s.get)
	mux.HandleFunc("POST "+pathMutable, s.mutable)
	mux.HandleFunc("POST "+pathObject, s.object)
	mux.HandleFunc("POST "+pathMakeDirectory, s.changing(s.makeDirectory))
	mux.HandleFunc("POST "+pathLink, s.changing(s.link))
	mux.HandleFunc("POST "+pathUnlink, s.changing(s.unlink))
	mux.HandleFunc("POST "+pathRename, s.changing(s.rename))
	mux.HandleFunc("GET "+pathStatus, s.status)
	mux.HandleFunc("GET "+pathKnown, s.servers)
	mux.HandleFunc("POST "+pathUsage, s.usage)
	s.operatorHandlers(mux)
	mux.HandleFunc("POST "+pathAddAuthority, s.addAuthority)
	mux.HandleFunc("POST "+pathRemoveAuthority, answers(maxObject, s.removeAuthority))
	s.handleManager(mux)
	s.handleLeases(mux)
	s.handleAggregator(mux)
	s.handleRenewer(mux)
	s.handleChecks(mux)
	s.handleRepairer(mux)
	s.handleTrees(mux)
	mux.Handle("GET "+pathMetrics, promhttp.HandlerFor(node.Metrics(), promhttp.HandlerOpts{}))
	// Profiles, for whoever may read the socket: go tool pprof wants a file,
	// which curl --unix-socket gives.
	mux.HandleFunc("GET "+pathProfiles, pprof.Index)
	mux.HandleFunc("GET "+pathProfiles+"profile", pprof.Profile)
	mux.HandleFunc("GET "+pathProfiles+"trace", pprof.Trace)
	return mux
}

type server struct{ node Node }

func (s *server) status(w http.ResponseWriter, r *http.Request) {
	status, err := s.node.Status(r.Context())
	reply(w, statusOf(status), err)
}

func (s *server) usage(w http.ResponseWriter, r *http.Request) {
	var ask usageRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	accounts, failed, err := s.node.OwnUsage(r.Context(), how...)
	reply(w, ownUsageOf(accounts, failed), err)
}

func (s *server) addAuthority(w http.ResponseWriter, r *http.Request) {
	summary, err := s.node.AddAuthority(r.Context(), http.MaxBytesReader(w, r.Body, lease.MaxAuthoritySize+1))
	reply(w, AuthoritySummaryOf(summary), err)
}

func (s *server) removeAuthority(ctx context.Context, ask removeAuthority) (AuthoritySummary, error) {
	summary, err := s.node.RemoveAuthority(ctx, ask.Name)
	return AuthoritySummaryOf(summary), err
}

// answers makes a function into a handler. What is asked of it are at most limit
// bytes of JSON; what has no body asks for nothing.
func answers[Ask, Answer any](limit int64, do func(context.Context, Ask) (Answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask Ask
		if r.Method == http.MethodPost {
			if err := readObjectUpTo(limit, r.Body, &ask); err != nil {
				reply(w, nil, err)
				return
			}
		}
		answer, err := do(r.Context(), ask)
		reply(w, answer, err)
	}
}

// handledBy makes a function of one of the node's roles into a handler, which
// refuses where the node does not have that.
func handledBy[Role, Ask, Answer any](find func() (Role, error), limit int64, do func(context.Context, Role, Ask) (Answer, error)) http.HandlerFunc {
	return answers(limit, func(ctx context.Context, ask Ask) (answer Answer, err error) {
		role, err := find()
		if err != nil {
			return answer, err
		}
		return do(ctx, role, ask)
	})
}

// readKey reads a public key of a request.
func readKey(text string) (grid.PublicKey, error) {
	key, err := grid.ParsePublicKey(text)
	if err != nil {
		return key, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return key, nil
}

// readObject reads one JSON object without unknown fields and nothing more.
func readObject(r io.Reader, into any) error { return readObjectUpTo(maxObject, r, into) }

func readObjectUpTo(limit int64, r io.Reader, into any) error {
	d := json.NewDecoder(io.LimitReader(r, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than one object", ErrRequest)
	}
	return nil
}

// reply writes object, or err if there is one.
func reply(w http.ResponseWriter, object any, err error) {
	status := http.StatusOK
	if err != nil {
		_, status = codeOf(err)
		object = objectOf(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object) // who asked is gone if this fails
}

var _ Node = (*tarn.Node)(nil)
