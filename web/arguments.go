package web

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// Bounds of what comes with a request besides a file.
const (
	// maxForm is how long the fields of a form are together, in bytes.
	maxForm = lease.MaxAuthoritySize + 1<<20
	// maxFields is how many fields a form has.
	maxFields = 1000
	// maxChildren is the longest description of children, in bytes, and how many
	// they are at most.
	maxChildren     = 64 << 20
	maxChildrenMany = 250_000
	// maxDepth is how many directories an address leads through, as many as a path
	// on a disk.
	maxDepth = 2048
)

// fieldFile is the field of a form in which a file is sent.
const fieldFile = "file"

// wrong is an argument or an address that makes no sense, with the status to
// say so.
type wrong struct {
	status   int
	sentence string
}

func (w wrong) Error() string { return w.sentence }

func badRequest(format string, args ...any) error {
	return wrong{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// arguments are those of the query and of a form, of which the query's count
// first.
type arguments struct {
	query, form url.Values
	// file is what the form has in its field of that name; nil if nothing. It
	// has to be closed.
	file     tarn.Spooled
	fileName string
}

func (a *arguments) close() {
	if a.file != nil {
		_ = a.file.Close() // what was only read loses nothing
	}
}

func (a *arguments) has(name string) bool { return a.query.Has(name) || a.form.Has(name) }

func (a *arguments) get(name string) string {
	if a.query.Has(name) {
		return a.query.Get(name)
	}
	return a.form.Get(name)
}

// what is t=, which says what is to be done.
func (a *arguments) what() string { return strings.TrimSpace(a.get("t")) }

// flag reads a boolean as Tahoe does.
func (a *arguments) flag(name string, otherwise bool) (bool, error) {
	if !a.has(name) {
		return otherwise, nil
	}
	switch strings.ToLower(a.get(name)) {
	case "true", "t", "1", "on":
		return true, nil
	case "false", "f", "0", "off":
		return false, nil
	}
	return false, badRequest("%s= is true or false.", name)
}

// format reads format= and mutable=.
func (a *arguments) format(otherwise string) (string, error) {
	switch f := strings.ToUpper(a.get("format")); f {
	case tahoe.CHK, tahoe.SDMF, tahoe.MDMF:
		return f, nil
	case "":
	default:
		return "", badRequest("Unknown format; there are CHK, SDMF and MDMF.")
	}
	mutable, err := a.flag("mutable", false)
	if mutable {
		return tahoe.SDMF, err
	}
	return otherwise, err
}

// seconds reads a count of seconds; false if there is none.
func (a *arguments) seconds(name string) (time.Duration, bool, error) {
	if !a.has(name) {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(a.get(name), 10, 32)
	if err != nil || n < 0 {
		return 0, false, badRequest("%s= is a number of seconds.", name)
	}
	return time.Duration(n) * time.Second, true, nil
}

// bodyIsData says that the body of a POST is no form, whatever its type: curl
// calls everything a form.
var bodyIsData = map[string]bool{
	"mkdir-with-children": true, "mkdir-immutable": true, "set_children": true, "set-children": true,
}

// readArguments reads the query and, where the body of a POST is a form, that;
// a file in it is spooled.
func (g *gateway) readArguments(r *http.Request) (*arguments, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query can't be read: a percent sign or a semicolon is not right.")
	}
	a := &arguments{query: query}
	if r.Method != http.MethodPost || bodyIsData[a.what()] {
		return a, nil
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return a, nil
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		return a, a.readEncoded(r.Body)
	case "multipart/form-data":
		if err := g.readForm(r, a, parameters["boundary"]); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func (a *arguments) readEncoded(body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, maxForm+1))
	switch {
	case err != nil:
		return badRequest("The form broke off.")
	case len(text) > maxForm:
		return wrong{http.StatusRequestEntityTooLarge, "The form is too long."}
	}
	if a.form, err = url.ParseQuery(string(text)); err != nil {
		return badRequest("The form can't be read: a percent sign or a semicolon is not right.")
	}
	return nil
}

// errForm is a form that can't be read.
var errForm = badRequest("The form can't be read, or broke off.")

func (g *gateway) readForm(r *http.Request, a *arguments, boundary string) error {
	if boundary == "" {
		return errForm
	}
	a.form = url.Values{}
	parts := multipart.NewReader(r.Body, boundary)
	left := int64(maxForm)
	for range maxFields {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errForm
		}
		if part.FormName() == fieldFile {
			if err := g.spoolPart(r, a, part); err != nil {
				return err
			}
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return errForm
		}
		if left -= int64(len(part.FormName()) + len(value)); left < 0 {
			return wrong{http.StatusRequestEntityTooLarge, "The form is too long."}
		}
		a.form.Add(part.FormName(), string(value))
	}
	return wrong{http.StatusRequestEntityTooLarge, "The form has too many fields."}
}

func (g *gateway) spoolPart(r *http.Request, a *arguments, part *multipart.Part) error {
	if a.file != nil {
		return badRequest("The form has two files; send one.")
	}
	broken := &readFailure{r: part}
	spooled, err := g.node.Spool(r.Context(), broken)
	if broken.err != nil {
		return errForm
	}
	if err != nil {
		return err
	}
	a.file, a.fileName = spooled, part.FileName()
	return nil
}

// readFailure remembers that the reader failed, and not who read.
type readFailure struct {
	r   io.Reader
	err error
}

func (f *readFailure) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
