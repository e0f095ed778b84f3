package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
)

// goTo sends a browser on from a form into which somebody pasted a capability.
func (q *request) goTo() error {
	if !q.args.query.Has("uri") {
		return badRequest("Which one? Say it with uri= and its capability.")
	}
	c, err := parseCapability(q.args.query.Get("uri"))
	if err != nil {
		return err
	}
	to := objectPath(c.String())
	if _, isDirectory := tarn.FoundOf(c).Directory(); isDirectory {
		to += "/"
	}
	rest := q.args.query
	rest.Del("uri")
	if len(rest) > 0 {
		to += "?" + rest.Encode()
	}
	q.redirect(http.StatusFound, to)
	return nil
}

// putUnlinked stores the body and answers with the capability: PUT /uri.
func (q *request) putUnlinked() error {
	switch q.args.what() {
	case "":
	case "mkdir":
		return q.makeUnlinked()
	default:
		return badRequest("Unknown t= for PUT; there is t=mkdir, and without any the body is stored.")
	}
	if q.r.Header.Get("Content-Range") != "" {
		return wrong{http.StatusNotImplemented, "A file is stored whole; Content-Range is not supported."}
	}
	c, err := q.store(q.body())
	if err != nil {
		return err
	}
	q.text(http.StatusCreated, c.String())
	return nil
}

// postUnlinked is what forms and programs make without putting it into a
// directory: POST /uri.
func (q *request) postUnlinked() error {
	switch q.args.what() {
	case "", "upload":
		return q.uploadUnlinked()
	case "mkdir", "mkdir-with-children", "mkdir-immutable":
		return q.makeUnlinked()
	}
	return badRequest("Unknown t= for POST; there are upload, mkdir, mkdir-with-children and mkdir-immutable.")
}

// uploadUnlinked stores the file of a form.
func (q *request) uploadUnlinked() error {
	if q.args.file == nil {
		return badRequest("The file has to come in a form (multipart/form-data), in the field named file.")
	}
	if _, err := q.whenDone("URI:"); err != nil {
		return err
	}
	size := q.args.file.Size()
	c, err := q.store(source{q.args.file, -1})
	if err != nil {
		return err
	}
	to, err := q.whenDone(c.String())
	if err != nil {
		return err
	}
	if to != "" {
		q.redirect(http.StatusFound, to)
		return nil
	}
	return q.page(storedPage, storedView{Cap: c.String(), Size: size, Name: cleanName(q.args.fileName)})
}

// whenDone is where a browser is to be sent, "" if nowhere, with the capability
// that was made in the place of %(uri)s. Only this gateway's own addresses are
// taken: another site would learn what the address has in it.
func (q *request) whenDone(capability string) (string, error) {
	text := strings.ReplaceAll(q.args.get("when_done"), "%(uri)s", url.PathEscape(capability))
	if text == "" {
		return "", nil
	}
	to, err := url.Parse(text)
	if err != nil || to.Opaque != "" || to.User != nil {
		return "", badRequest("when_done= is no address.")
	}
	own := to.Scheme == "" || to.Scheme == "http" || to.Scheme == "https"
	if !own || to.Host != "" && to.Host != q.r.Host || to.Host == "" && to.Scheme != "" {
		return "", badRequest("when_done= leads to another site.")
	}
	to.Scheme, to.Host = "", ""
	here := &url.URL{Path: q.r.URL.Path, RawPath: q.r.URL.RawPath}
	resolved := here.ResolveReference(to)
	if path := resolved.EscapedPath(); !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return "", badRequest("when_done= leads to another site.")
	}
	return resolved.String(), nil
}

// makeUnlinked answers with a new directory's capability, or sends a browser
// there.
func (q *request) makeUnlinked() error {
	redirect, err := q.args.flag("redirect_to_result", false)
	if err != nil {
		return err
	}
	d, err := q.newDirectory()
	if err != nil {
		return err
	}
	if redirect {
		q.redirect(http.StatusSeeOther, objectPath(d.String())+"/")
		return nil
	}
	q.text(http.StatusOK, d.String())
	return nil
}

// newImmutable stores an immutable directory with the children that the body
// describes.
func (q *request) newImmutable() (string, error) {
	children, err := readChildren(q.r.Body)
	if err != nil {
		return "", err
	}
	d, err := directory.New(file.Directory{})
	if err != nil {
		return "", err
	}
	for _, c := range children {
		if err := d.Set(c); err != nil {
			return "", fmt.Errorf("%q: %w", c.Name, err)
		}
	}
	result, err := q.node.PutDirectory(q.r.Context(), d, q.putOptions(-1))
	if errors.Is(err, directory.ErrDirectory) {
		return "", wrong{http.StatusRequestEntityTooLarge, "The directory would be too large."}
	}
	return result.Cap, err
}

// storedView is what the page shows that tells of an upload.
type storedView struct {
	Cap, Name string
	Size      int64
}

// Title and Trail are those of the page.
func (v storedView) Title() string { return "Stored" }

func (v storedView) Trail() []step { return nil }

// Link leads to the file.
func (v storedView) Link() string {
	if v.Name == "" {
		return objectPath(v.Cap)
	}
	return namedPath(v.Cap, v.Name)
}

// Amount is the size for people.
func (v storedView) Amount() string { return grid.FormatSize(v.Size) }
