// Package dav serves trees of files by WebDAV (RFC 4918), classes 1 and 2, to
// programs and operating systems that mount it.
//
// Handler serves it over the trees of a node. What it promises:
//
//   - each user sees his own directory and nothing else, after a password;
//   - only requests that name this server as their host are answered, and none that
//     a page of another site makes;
//   - a file that did not come whole changes nothing;
//   - no capability appears in a URL, a header, an answer or a log.
package dav

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/webdav"

	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/tree"
	"github.com/tarn-grid/tarn/web/users"
)

// Options of a handler.
type Options struct {
	// Hosts are names by which it may be addressed besides those of the loopback
	// interface, without port.
	Hosts []string
	// Log receives failures of the node; nil discards.
	Log *slog.Logger
}

// maxBody bounds the body of whatever is not a file, in bytes.
const maxBody = 1 << 20

type server struct {
	trees     *tree.Trees
	passwords *users.Passwords
	log       *slog.Logger

	mu    sync.Mutex
	locks map[string]webdav.LockSystem // by the identity of a directory
}

// Handler serves the directories of users.
func Handler(trees *tree.Trees, source users.Source, o Options) (http.Handler, error) {
	passwords, err := users.NewPasswords(source)
	if err != nil {
		return nil, err
	}
	s := &server{trees: trees, passwords: passwords, log: o.Log, locks: map[string]webdav.LockSystem{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return web.Guard(s, o.Hosts, "webdav.hosts"), nil
}

// ServeHTTP lets users in.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, password, _ := r.BasicAuth()
	u, ok := s.passwords.User(r.Context(), name, password)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="Tarn", charset="UTF-8"`)
		answer(w, http.StatusUnauthorized, "Name or password are not those of a user.")
		return
	}
	t, err := s.trees.At(u.Root)
	if err != nil {
		s.log.ErrorContext(r.Context(), "a user has no directory", "user", u.Name, "error", err)
		answer(w, http.StatusInternalServerError, "The directory can't be opened.")
		return
	}
	s.serve(w, r, u, t)
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, u users.User, t *tree.Tree) {
	q := &request{method: r.Method, size: r.ContentLength, mustBeNew: r.Header.Get("If-None-Match") == "*"}
	if status, sentence := q.check(r); status != 0 {
		answer(w, status, sentence)
		return
	}
	if r.Method != http.MethodPut {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	} else if q.at, q.timed = ownCloudTime(r.Header); q.timed {
		w.Header().Set("X-OC-Mtime", "accepted")
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		w.Header().Set("Content-Type", contentType(r.URL.Path))
		w.Header().Set("Content-Disposition", "attachment")
		w.Header().Set("Cache-Control", "private, no-cache")
	}
	complete(r)
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, q))
	if status, sentence := q.conditions(r, t); status != 0 {
		answer(w, status, sentence)
		return
	}
	h := webdav.Handler{FileSystem: files{t}, LockSystem: s.locksOf(t)}
	h.ServeHTTP(&answerer{ResponseWriter: w, request: q}, r)
	if q.err != nil && statusOf(q.err) >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.log.WarnContext(r.Context(), "WebDAV request failed", "method", r.Method, "user", u.Name, "error", innermost(q.err))
	}
}

// innermost leaves out the paths of users, which are nobody else's business.
func innermost(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// check refuses what would go wrong, or never end.
func (q *request) check(r *http.Request) (status int, sentence string) {
	depth := strings.ToLower(r.Header.Get("Depth"))
	switch {
	case r.Method == "PROPFIND" && (depth == "" || depth == "infinity"):
		return http.StatusForbidden, "A whole tree can't be listed at once: ask for a Depth of 0 or 1."
	case r.Method == http.MethodPut && r.Header.Get("Content-Range") != "":
		return http.StatusBadRequest, "A part of a file can't be put."
	case r.Method == http.MethodPost, r.Method == http.MethodPatch:
		return http.StatusMethodNotAllowed, "That can't be done by WebDAV here."
	}
	return 0, ""
}

// conditions are those of a write, which webdav does not look at.
func (q *request) conditions(r *http.Request, t *tree.Tree) (status int, sentence string) {
	match := r.Header.Get("If-Match")
	if match == "" || r.Method != http.MethodPut && r.Method != http.MethodDelete {
		return 0, ""
	}
	i, err := t.Stat(r.Context(), r.URL.Path)
	if err == nil && (match == "*" || strings.Contains(match, quoted(i.Tag())) && i.Tag() != "") {
		return 0, ""
	}
	return http.StatusPreconditionFailed, "The file is not what it was."
}

func quoted(tag string) string { return `"` + tag + `"` }

// locksOf are shared by all who see a directory.
func (s *server) locksOf(t *tree.Tree) webdav.LockSystem {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.locks[t.Identity()]
	if !ok {
		l = boundedLocks{webdav.NewMemLS()}
		s.locks[t.Identity()] = l
	}
	return l
}

// complete says what a request means where it says nothing, and package webdav
// takes that for something else.
func complete(r *http.Request) {
	switch r.Method {
	case "MOVE":
		if r.Header.Get("Overwrite") == "" {
			r.Header.Set("Overwrite", "T")
		}
	case "LOCK":
		text, _ := strings.CutPrefix(r.Header.Get("Timeout"), "Second-")
		if seconds, err := strconv.Atoi(text); err != nil || seconds > int(longestLock/time.Second) {
			r.Header.Set("Timeout", fmt.Sprintf("Second-%d", longestLock/time.Second))
		}
	}
}

// longestLock is for how long a lock is given at most; programs that want it longer
// renew it.
const longestLock = time.Hour

// boundedLocks gives none for ever.
type boundedLocks struct{ webdav.LockSystem }

// Create implements webdav.LockSystem.
func (l boundedLocks) Create(now time.Time, d webdav.LockDetails) (string, error) {
	d.Duration = bounded(d.Duration)
	return l.LockSystem.Create(now, d)
}

// Refresh implements webdav.LockSystem.
func (l boundedLocks) Refresh(now time.Time, token string, d time.Duration) (webdav.LockDetails, error) {
	return l.LockSystem.Refresh(now, token, bounded(d))
}

func bounded(d time.Duration) time.Duration {
	if d < 0 || d > longestLock {
		return longestLock
	}
	return d
}

// contentType is by the name alone, so that no file is opened for it.
func contentType(name string) string { return web.ContentType(path.Base(name)) }
