package web

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/web/tahoe"
)

// How long handles are kept, as in Tahoe: those of operations that have ended,
// before and after somebody looked, unless retain-for= says otherwise.
const (
	uncollected = 4 * 24 * time.Hour
	collected   = 24 * time.Hour
)

// maxOperations is how many handles there are at most; where another one is
// wanted, the oldest of those whose operation has ended goes.
const maxOperations = 200

// maxHandle is the longest handle, in bytes.
const maxHandle = 1000

// longOperation is one that is asked about while it goes on.
type longOperation interface {
	// run does it. It ends soon after its context does.
	run(ctx context.Context) error
	// writeJSON, writeText and page answer about it, while it runs and after.
	writeJSON(w io.Writer, finished bool) error
	writeText(w io.Writer, finished bool) error
	page(finished bool) operationView
}

// detailed is a long operation that knows more of single objects.
type detailed interface {
	// detail is what it knows of the one with this storage index, as JSON and as
	// facts; errUnknownObject if that is nothing.
	detail(ctx context.Context, storageIndex string) (object any, facts []fact, err error)
}

// errUnknownObject means that an operation has not come to such an object.
var errUnknownObject = wrong{http.StatusNotFound, "The operation has come to no object with this storage index, or to too many besides."}

// operations are those that go on by themselves, by handle.
type operations struct {
	mu  sync.Mutex
	all map[string]*running
}

// running is an operation with a handle.
type running struct {
	longOperation
	cancel  context.CancelFunc
	started time.Time

	// Under the lock of operations.
	retained bool // somebody said for how long it is to be kept
	done     bool
	err      error
	expiry   *time.Timer
}

func newOperations() *operations { return &operations{all: map[string]*running{}} }

// start begins an operation. A handle that is in use goes on meaning what it
// means: a POST that is sent again starts nothing anew.
func (o *operations) start(ctx context.Context, handle string, op longOperation, retain time.Duration, retained bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all[handle] != nil {
		return nil
	}
	if !o.makeRoom() {
		return wrong{http.StatusServiceUnavailable, "There are too many operations; look at some with release-after-complete=true, or cancel them."}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{longOperation: op, cancel: cancel, started: time.Now(), retained: retained}
	o.all[handle] = r
	if retained {
		o.expire(handle, r, retain)
	}
	go func() { // ends with the operation
		err := op.run(ctx)
		cancel()
		o.ended(handle, r, err)
	}()
	return nil
}

// makeRoom is false where all that there may be go on. The lock is held.
func (o *operations) makeRoom() bool {
	if len(o.all) < maxOperations {
		return true
	}
	oldest := ""
	for handle, r := range o.all {
		if r.done && (oldest == "" || r.started.Before(o.all[oldest].started)) {
			oldest = handle
		}
	}
	if oldest == "" {
		return false
	}
	o.release(oldest, o.all[oldest])
	return true
}

func (o *operations) ended(handle string, r *running, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.done, r.err = true, err
	if o.all[handle] == r && !r.retained {
		o.expire(handle, r, max(uncollected, time.Since(r.started)))
	}
}

// expire has a handle go after a time. The lock is held.
func (o *operations) expire(handle string, r *running, after time.Duration) {
	if r.expiry != nil {
		r.expiry.Stop()
	}
	r.expiry = time.AfterFunc(after, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.release(handle, r)
	})
}

// release forgets a handle, and ends what goes on under it. The lock is held.
func (o *operations) release(handle string, r *running) {
	r.cancel()
	if r.expiry != nil {
		r.expiry.Stop()
	}
	if o.all[handle] == r {
		delete(o.all, handle)
	}
}

// look finds an operation, and does with its handle what the arguments say.
func (o *operations) look(handle string, cancel, release bool, retain time.Duration, retained bool) (r *running, done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r = o.all[handle]
	switch {
	case r == nil:
		return nil, false, wrong{http.StatusNotFound, "There is no operation under this handle, or no more."}
	case cancel:
		o.release(handle, r)
		return r, r.done, nil
	case retained:
		r.retained = true
		o.expire(handle, r, retain)
	case r.done:
		o.expire(handle, r, collected)
	}
	if r.done && release {
		o.release(handle, r)
	}
	return r, r.done, r.err
}

// startOperation begins a long operation and sends the client to its handle.
func (q *request) startOperation(op longOperation) error {
	handle := q.args.get("ophandle")
	if handle == "" {
		return badRequest("A slow operation needs a handle to be asked about by; choose one with ophandle=.")
	}
	if len(handle) > maxHandle {
		return badRequest("The handle is too long.")
	}
	retain, retained, err := q.args.seconds("retain-for")
	if err != nil {
		return err
	}
	if err := q.operations.start(q.r.Context(), handle, op, retain, retained); err != nil {
		return err
	}
	to := "/" + rootOperations + "/" + url.PathEscape(handle)
	if output := q.args.get("output"); output != "" {
		to += "?output=" + url.QueryEscape(output)
	}
	q.redirect(http.StatusFound, to)
	return nil
}

// operation answers about the operation of a handle.
func (q *request) operation() error {
	switch elements := q.address.elements; {
	case len(elements) == 2 && q.r.Method != http.MethodPost:
		return q.operationDetail(elements[0], elements[1])
	case len(elements) != 1:
		return wrong{http.StatusNotFound, "Here the handle of an operation has to follow."}
	}
	cancel := q.args.what() == "cancel"
	switch what := q.args.what(); {
	case cancel && q.r.Method != http.MethodPost:
		return badRequest("An operation is cancelled with POST.")
	case !cancel && what != "" && what != "status":
		return badRequest("Unknown t=; there are status and cancel.")
	}
	retain, retained, err := q.args.seconds("retain-for")
	if err != nil {
		return err
	}
	release, err := q.args.flag("release-after-complete", false)
	if err != nil {
		return err
	}
	op, done, err := q.operations.look(q.address.elements[0], cancel, release, retain, retained)
	if err != nil {
		return err
	}
	return q.showOperation(op, done)
}

// operationDetail answers with what an operation knows of one object.
func (q *request) operationDetail(handle, storageIndex string) error {
	op, _, err := q.operations.look(handle, false, false, 0, false)
	if err != nil {
		return err
	}
	d, ok := op.longOperation.(detailed)
	if !ok {
		return wrong{http.StatusNotFound, "This operation knows no more of single objects."}
	}
	object, facts, err := d.detail(q.r.Context(), storageIndex)
	if err != nil {
		return err
	}
	q.w.Header().Set("Cache-Control", "no-store")
	switch strings.ToLower(q.args.get("output")) {
	case "json":
		return q.json(object)
	case "", "html":
		return q.page(infoPage, infoView{Title: "Check", Facts: facts})
	}
	return badRequest("Unknown output=; there are html and json.")
}

func (q *request) showOperation(op *running, done bool) error {
	h := q.w.Header()
	h.Set("Cache-Control", "no-store")
	switch strings.ToLower(q.args.get("output")) {
	case "json":
		h.Set("Content-Type", jsonType)
		return op.writeJSON(tahoe.NewASCIIWriter(q.w), done)
	case "text":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		return op.writeText(q.w, done)
	case "", "html":
		view := op.page(done)
		view.Finished, view.Here = done, q.r.URL.EscapedPath()
		if !done {
			h.Set("Refresh", "60")
		}
		return q.page(operationPage, view)
	}
	return badRequest("Unknown output=; there are html, json and text.")
}

// operationView is the page of an operation.
type operationView struct {
	Title    string
	Finished bool
	Here     string // the page's own address
	Facts    []fact
	Objects  []listed
}

// fact is a line of a page, listed an object with a path to it; Detail is what
// stands behind Here for more about it, if there is more.
type (
	fact   struct{ Name, Value string }
	listed struct{ Path, Link, Kind, Detail string }
)
