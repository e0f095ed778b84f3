package web

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
)

// cutCap takes the capability out of /uri/CAP, percent-encoded or not.
func cutCap(path string) (string, bool) {
	encoded, ok := strings.CutPrefix(path, "/uri/")
	if !ok {
		return "", false
	}
	capability, err := url.PathUnescape(encoded)
	return capability, err == nil
}

// get answers with a file or a range of it.
func (g *gateway) get(w http.ResponseWriter, r *http.Request, text string) {
	capability, status, sentence := readable(text)
	if status != 0 {
		fail(w, status, sentence)
		return
	}
	f, err := g.node.Open(r.Context(), capability)
	if err != nil {
		g.failed(w, r, err)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("ETag", etag(capability))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Cache-Control", "private, no-cache")
	setDisposition(h, r.URL.Query())
	if matches(r.Header.Get("If-None-Match"), etag(capability)) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	g.serve(w, r, f)
}

// readable says whether a file can be read with this text, in its one
// spelling; otherwise with what status and words to refuse it.
func readable(text string) (capability string, status int, sentence string) {
	parsed, err := file.Parse(text)
	if err != nil {
		return "", http.StatusBadRequest, "This is no capability: " + err.Error() + "."
	}
	switch c := parsed.(type) {
	case file.CHK, file.LIT:
		return c.String(), 0, ""
	case file.CHKVerifier:
		return "", http.StatusBadRequest, "A verify capability can check a file but not read it."
	default:
		return "", http.StatusNotImplemented, "This version reads immutable files (CHK and LIT) only."
	}
}

// etag names the content without giving the capability away: the hash does
// not lead back to a key of 128 bits.
func etag(capability string) string {
	sum := sha256.Sum256([]byte("tarn gateway etag v1\x00" + capability))
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
