package web

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// source is what is to be stored: the body of a request, or the file of a form.
type source struct {
	r    io.Reader
	size int64 // bytes, -1 if it is not known
}

func (q *request) body() source { return source{q.r.Body, q.r.ContentLength} }

// store makes a file of it, in the format that is asked for.
func (q *request) store(s source) (file.Capability, error) {
	format, err := q.args.format(tahoe.CHK)
	if err != nil {
		return nil, err
	}
	if format != tahoe.CHK {
		o, err := q.mutableOptions()
		if err != nil {
			return nil, err
		}
		result, err := q.node.CreateMutable(q.r.Context(), s.r, o)
		if err != nil {
			return nil, err
		}
		return file.Parse(result.Cap)
	}
	result, err := q.node.Put(q.r.Context(), s.r, q.putOptions(s.size))
	if err != nil {
		return nil, err
	}
	return file.Parse(result.Cap)
}

// mutableOptions say how mutable files and directories are made.
func (q *request) mutableOptions() (tarn.MutableOptions, error) {
	format, err := q.args.format(tahoe.SDMF)
	if err != nil {
		return tarn.MutableOptions{}, err
	}
	o := tarn.MutableOptions{Format: tarn.Format(strings.ToLower(format)), Authority: q.authority}
	if text := q.args.get("private-key"); text != "" {
		der, err := decodeBase64(text)
		if err != nil {
			return o, badRequest("private-key= is an RSA key (DER), in URL-safe base64.")
		}
		o.PrivateKey = pem.EncodeToMemory(&pem.Block{Type: pemType(der), Bytes: der})
	}
	return o, nil
}

// pemType tells the two forms of private keys apart, as OpenSSL names them.
func pemType(der []byte) string {
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return "RSA PRIVATE KEY"
	}
	return "PRIVATE KEY"
}

// replace reads replace=, and overwrite=, as which set_children has it.
func (q *request) replace() (tarn.Replace, error) {
	name := "replace"
	if !q.args.has(name) && q.args.has("overwrite") {
		name = "overwrite"
	}
	if strings.EqualFold(q.args.get(name), "only-files") {
		return tarn.ReplaceFiles, nil
	}
	all, err := q.args.flag(name, true)
	if err != nil {
		return 0, badRequest("%s= is true, false or only-files.", name)
	}
	if all {
		return tarn.ReplaceAny, nil
	}
	return tarn.ReplaceNone, nil
}

// offset reads offset=; -1 if there is none.
func (q *request) offset() (int64, error) {
	if !q.args.has("offset") {
		return -1, nil
	}
	n, err := strconv.ParseInt(q.args.get("offset"), 10, 64)
	if err != nil || n < 0 || n > file.MaxSize {
		return 0, badRequest("offset= is a number of bytes.")
	}
	return n, nil
}

// putObject is PUT /uri/CAP[/PATH].
func (q *request) putObject() error {
	if q.r.Header.Get("Content-Range") != "" {
		return wrong{http.StatusNotImplemented, "Content-Range is not supported; to write into a mutable file, say where with offset=."}
	}
	switch q.args.what() {
	case "":
		return q.putFile(q.body())
	case "uri":
		return q.putLink()
	case "mkdir":
		return q.makeAtPath()
	}
	return badRequest("Unknown t= for PUT; there are uri and mkdir, and without any the body is stored.")
}

// spot is a name in a directory, and what is there.
type spot struct {
	parent file.Directory
	name   string
	there  *tarn.Found // nil if nothing is
}

// spot makes the directories that are missing above the address, and finds what
// is at it. A capability without a path is in no directory; there is all that is
// known then.
func (q *request) spot() (spot, error) {
	links, err := q.links()
	path := q.address.path()
	switch {
	case err == nil:
		l := links[len(links)-1]
		return spot{l.Parent, l.Name, &l}, nil
	case errors.Is(err, tarn.ErrNotDirectory):
		return spot{}, wrong{http.StatusConflict, "A file is in the way: " + err.Error() + "."}
	case !errors.Is(err, tarn.ErrNoEntry):
		return spot{}, err
	}
	root, err := q.capability()
	if err != nil {
		return spot{}, err
	}
	parent, err := q.directories(root, path[:len(path)-1])
	if err != nil {
		return spot{}, err
	}
	return spot{parent: parent, name: path[len(path)-1]}, nil
}

// directories makes what is missing of a path. Those in between have the usual
// format.
func (q *request) directories(root file.Capability, path []string) (file.Directory, error) {
	links, err := tarn.MakeDirectories(q.r.Context(), q.node, root, path, tarn.MutableOptions{Authority: q.authority})
	if errors.Is(err, tarn.ErrNotDirectory) {
		return file.Directory{}, wrong{http.StatusConflict, "A file is in the way: " + err.Error() + "."}
	}
	if err != nil {
		return file.Directory{}, err
	}
	d, _ := links[len(links)-1].Directory()
	return d, nil
}

// putFile stores what came under the address: into the mutable file that is
// there, or as a new file in its place.
func (q *request) putFile(s source) error {
	capability, created, err := q.fileAt(s, q.spot)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	q.text(status, capability.String())
	return nil
}

func (q *request) fileAt(s source, find func() (spot, error)) (c file.Capability, created bool, err error) {
	replace, err := q.replace()
	if err != nil {
		return nil, false, err
	}
	offset, err := q.offset()
	if err != nil {
		return nil, false, err
	}
	at, err := find()
	if err != nil {
		return nil, false, err
	}
	if at.there != nil {
		if m, ok := at.there.Capability().(file.Mutable); ok {
			return q.overwrite(m, s, offset, replace)
		}
		if err := at.replaceable(replace); err != nil {
			return nil, false, err
		}
	}
	if offset >= 0 {
		return nil, false, badRequest("offset= is for mutable files.")
	}
	if !at.parent.Writable() {
		return nil, false, tarn.ErrReadOnly
	}
	if c, err = q.store(s); err != nil {
		return nil, false, err
	}
	return c, at.there == nil, q.putIn(at.parent, at.name, c, replace)
}

// putIn puts what c names under a name into a directory.
func (q *request) putIn(d file.Directory, name string, c file.Capability, r tarn.Replace) error {
	_, err := q.node.Link(q.r.Context(), d.String(), []tarn.Link{{Name: name, Cap: c.String(), Replace: r}}, q.how()...)
	return err
}

// replaceable says why a new file can't take the place of what is there.
func (s spot) replaceable(r tarn.Replace) error {
	_, isDirectory := s.there.Directory()
	switch {
	case s.parent.File == nil && isDirectory:
		return badRequest("A directory is no file; say under which name to store one in it.")
	case s.parent.File == nil:
		return badRequest("It can't be changed: only mutable files can be written to, with a capability that allows it.")
	case r == tarn.ReplaceNone:
		return tarn.ErrEntryExists
	case isDirectory:
		return badRequest("There is a directory by that name, and PUT does not replace one by a file.")
	}
	return nil
}

func (q *request) overwrite(m file.Mutable, s source, offset int64, r tarn.Replace) (file.Capability, bool, error) {
	switch {
	case r == tarn.ReplaceNone:
		return nil, false, tarn.ErrEntryExists
	case !m.Writable():
		return nil, false, badRequest("It can't be changed with a capability that can only read it.")
	case offset >= 0:
		_, err := q.node.WriteAt(q.r.Context(), m.String(), s.r, offset, q.how()...)
		return m, false, err
	}
	_, err := q.node.Overwrite(q.r.Context(), m.String(), s.r, q.how()...)
	return m, false, err
}

// putLink puts the capability in the body under the address.
func (q *request) putLink() error {
	replace, err := q.replace()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(q.r.Body, file.MaxText+1))
	if err != nil {
		return badRequest("The capability broke off.")
	}
	c, err := parseCapability(string(text))
	if err != nil {
		return err
	}
	path := q.address.path()
	if len(path) == 0 {
		return badRequest("Under which name? Put it behind the directory's capability.")
	}
	root, err := q.capability()
	if err != nil {
		return err
	}
	parent, err := q.directories(root, path[:len(path)-1])
	if err != nil {
		return err
	}
	if err := q.putIn(parent, path[len(path)-1], c, replace); err != nil {
		return err
	}
	q.text(http.StatusOK, strings.TrimSpace(string(text)))
	return nil
}

// deleteObject takes the address out of the directory that it is in.
func (q *request) deleteObject() error {
	path := q.address.path()
	if len(path) == 0 {
		return badRequest("What is to be unlinked? Say its name, behind the directory's capability.")
	}
	c, err := q.capability()
	if err != nil {
		return err
	}
	parent, err := q.directoryAt(c, path[:len(path)-1])
	if err != nil {
		return err
	}
	was, err := q.node.Unlink(q.r.Context(), parent.String(), path[len(path)-1], q.how()...)
	if err != nil {
		return err
	}
	text := ""
	if was.Err == nil {
		text = was.Capability().String()
	}
	q.text(http.StatusOK, text)
	return nil
}

// directoryAt follows a path to a directory, which has to be there.
func (q *request) directoryAt(root file.Capability, path []string) (file.Directory, error) {
	links, err := tarn.Follow(q.r.Context(), q.node, root, path, q.how()...)
	if err != nil {
		return file.Directory{}, err
	}
	d, ok := links[len(links)-1].Directory()
	if !ok {
		return d, badRequest("This is for directories.")
	}
	return d, nil
}
