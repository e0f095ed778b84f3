package web

import (
	"errors"
	"net/http"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/lease"
)

// request is one on its way.
type request struct {
	*gateway
	w         http.ResponseWriter
	r         *http.Request
	address   address
	args      *arguments
	authority lease.Authority // that it brings along, empty for the node's own
}

// handle answers a request with what do does, or with its error.
func (g *gateway) handle(w http.ResponseWriter, r *http.Request, a address, do func(*request) error) {
	q := &request{gateway: g, w: w, r: r, address: a}
	var err error
	if q.args, err = g.readArguments(r); err == nil {
		defer q.args.close()
		if q.authority, err = g.readAuthority(r, q.args); err == nil {
			err = do(q)
		}
	}
	if err != nil {
		q.refuse(err)
	}
}

// refuse answers with what went wrong.
func (q *request) refuse(err error) {
	var w wrong
	if errors.As(err, &w) {
		tell(q.w, q.r, w.status, w.sentence)
		return
	}
	q.failed(q.w, q.r, err)
}

// how is with what authority the node is to act.
func (q *request) how() []tarn.Option { return under(q.authority) }

// putOptions store under the authority of the request.
func (q *request) putOptions(size int64) tarn.PutOptions {
	return tarn.PutOptions{Size: size, Authority: q.authority}
}

// capability reads the one that the address begins with.
func (q *request) capability() (file.Capability, error) {
	return parseCapability(q.address.elements[0])
}

func parseCapability(text string) (file.Capability, error) {
	c, err := file.Parse(text)
	if err != nil {
		return nil, badRequest("This is no capability: %v.", err)
	}
	return c, nil
}

// links follows the address; see tarn.Follow.
func (q *request) links() ([]tarn.Found, error) {
	c, err := q.capability()
	if err != nil {
		return nil, err
	}
	links, err := tarn.Follow(q.r.Context(), q.node, c, q.address.path(), q.how()...)
	if err == nil && q.address.folder {
		if _, ok := links[len(links)-1].Directory(); !ok {
			err = badRequest("Files have no children; leave the slash at the end out.")
		}
	}
	return links, err
}

// link is what the address leads to.
func (q *request) link() (tarn.Found, error) {
	links, err := q.links()
	if err != nil {
		return tarn.Found{}, err
	}
	return links[len(links)-1], nil
}

// text answers with a text, such as a capability.
func (q *request) text(status int, text string) {
	h := q.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write([]byte(text)) // the client is gone if this fails
	}
}

// unchanged marks an answer that is always the same for a capability, and
// answers if the client has it already.
func (q *request) unchanged(c file.Capability) bool {
	h := q.w.Header()
	tag := etag(c.String(), q.args.what())
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache")
	if !matches(q.r.Header.Get("If-None-Match"), tag) {
		return false
	}
	q.w.WriteHeader(http.StatusNotModified)
	return true
}

// redirect answers with another address of the gateway.
func (q *request) redirect(status int, to string) {
	q.w.Header().Set("Location", to)
	q.w.Header().Set("Cache-Control", "no-store")
	q.w.WriteHeader(status)
}
