package web

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// getObject answers with a file, a directory's page, or what t= asks about
// either.
func (q *request) getObject() error {
	l, err := q.link()
	if err != nil {
		return err
	}
	c := l.Capability()
	what := q.args.what()
	_, isDirectory := l.Directory()
	page := isDirectory && what == "" // which changes with the program
	if c.Immutable() && fixed[what] && !page && q.unchanged(c) {
		return nil
	}
	switch what {
	case "":
		return q.content(l)
	case "json":
		return q.nodeJSON(l)
	case "uri":
		return q.capText(c)
	case "readonly-uri":
		if l.Read == nil {
			return badRequest("It is of an unknown kind, so how to read it without writing is not known.")
		}
		return q.capText(l.Read)
	case "info":
		return q.info(l)
	case "rename-form":
		return q.renameForm(l)
	}
	return badRequest("Unknown t= for reading; there are json, uri, readonly-uri and info.")
}

// capText answers with a capability, if there is one.
func (q *request) capText(c file.Capability) error {
	if c == (file.Unknown{}) {
		return wrong{http.StatusNotFound, "There is a name and nothing behind it: the directory has no capability there."}
	}
	q.text(http.StatusOK, c.String())
	return nil
}

// fixed are the values of t= for which an immutable object has one answer.
var fixed = map[string]bool{"": true, "json": true, "uri": true, "readonly-uri": true}

// content answers with a file, or with the page of a directory.
func (q *request) content(l tarn.Found) error {
	if d, ok := l.Directory(); ok {
		return q.directoryPage(l, d)
	}
	name := l.Name
	if q.args.has("filename") {
		name = q.args.get("filename")
	}
	return q.file(l.Capability(), name)
}

// named answers with a file as if it had the name at the end of the address.
func (q *request) named() error {
	if len(q.address.elements) == 0 {
		return wrong{http.StatusNotFound, "Here a file's capability has to follow, and a name."}
	}
	c, err := q.capability()
	if err != nil {
		return err
	}
	if _, isDirectory := c.(file.Directory); isDirectory {
		return badRequest("This address is for files; directories are at /uri/.")
	}
	if q.args.what() != "" {
		return badRequest("This address gives the file itself; t= is for /uri/.")
	}
	if c.Immutable() && q.unchanged(c) {
		return nil
	}
	name := q.args.get("filename")
	if path := q.address.path(); name == "" && len(path) > 0 {
		name = path[len(path)-1]
	}
	return q.file(c, name)
}

// file answers with a file or a range of it.
func (q *request) file(c file.Capability, name string) error {
	if err := readable(c); err != nil {
		return err
	}
	save, err := q.args.flag("save", false)
	if err != nil {
		return err
	}
	f, err := q.node.Open(q.r.Context(), c.String(), q.how()...)
	if err != nil {
		return err
	}
	defer f.Close()
	h := q.w.Header()
	h.Set("Accept-Ranges", "bytes")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	setDisposition(h, name, save)
	q.serve(q.w, q.r, f)
	return nil
}

// readable says why a file can't be read with a capability; nil if it can.
func readable(c file.Capability) error {
	switch c := c.(type) {
	case file.Unknown:
		return badRequest("It is of an unknown kind, and can't be read; a later version may know it. t=json and t=info say what is known.")
	case file.CHKVerifier:
		return errVerifier
	case file.Mutable:
		if _, ok := c.ReadKey(); !ok {
			return errVerifier
		}
	}
	return nil
}

var errVerifier = badRequest("A verify capability can check a file but not read it.")

// nodeJSON answers as Tahoe does to t=json.
func (q *request) nodeJSON(l tarn.Found) error {
	h := q.w.Header()
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	d, isDirectory := l.Directory()
	if !isDirectory {
		kind, n := tahoe.Describe(l)
		if m, ok := l.Capability().(file.Mutable); ok && readable(m) == nil {
			size, err := q.currentSize(m)
			if err != nil {
				return err
			}
			n.Size = &size
		}
		h.Set("Content-Type", jsonType)
		return tahoe.WriteNode(q.w, kind, n)
	}
	content, err := q.node.ReadDirectory(q.r.Context(), d, q.how()...)
	if err != nil {
		return err
	}
	h.Set("Content-Type", jsonType)
	return tahoe.WriteDirectory(q.w, l, content)
}

// currentSize asks how large a mutable file is now, in bytes.
func (q *request) currentSize(m file.Mutable) (int64, error) {
	f, err := q.node.Open(q.r.Context(), m.String(), q.how()...)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size(), nil
}

const jsonType = "application/json; charset=utf-8"

// etag names what is answered about a capability to t=what without giving it
// away: the hash does not lead back to a key of 128 bits.
func etag(capability, what string) string {
	sum := sha256.Sum256([]byte("tarn gateway etag v1\x00" + capability + "\x00" + what))
	return `"` + grid.EncodeBase32(sum[:16]) + `"`
}

// matches reads If-None-Match (RFC 9110 section 13.1.2): a list, or *.
func matches(header, tag string) bool {
	for _, candidate := range strings.Split(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request, f tarn.File) {
	h, size := w.Header(), f.Size()
	wanted, err := rangeOf(r, size, h.Get("ETag"))
	if err != nil {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		fail(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("The file has %d bytes, and none of those were asked for.", size))
		return
	}
	status := http.StatusOK
	if wanted.partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", wanted.offset, wanted.offset+wanted.length-1, size))
	}
	h.Set("Content-Length", strconv.FormatInt(wanted.length, 10))
	if r.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	out := &lateHeader{w: w, status: status}
	if err := f.WriteRange(out, wanted.offset, wanted.length); err != nil {
		g.broken(out, r, err)
		return
	}
	out.begin() // an empty file writes nothing
}

// broken ends a download that failed. While nothing was sent it can still be
// told; after that the connection is cut, so that nobody takes the beginning
// for the whole.
func (g *gateway) broken(out *lateHeader, r *http.Request, err error) {
	if !out.begun {
		h := out.w.Header()
		for _, name := range []string{"Content-Range", "Content-Length", "Content-Disposition", "ETag", "Accept-Ranges"} {
			h.Del(name)
		}
		g.failed(out.w, r, err)
		return
	}
	if r.Context().Err() == nil {
		g.log.WarnContext(r.Context(), "download broke off", "error", err)
	}
	_ = http.NewResponseController(out.w).Flush() // the right bytes may go out; the end that follows says enough
	panic(http.ErrAbortHandler)
}

// lateHeader sends the status with the first byte, so that a failure before
// it can have a status of its own.
type lateHeader struct {
	w      http.ResponseWriter
	status int
	begun  bool
}

func (l *lateHeader) begin() {
	if !l.begun {
		l.begun = true
		l.w.WriteHeader(l.status)
	}
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	l.begin()
	return l.w.Write(p)
}
