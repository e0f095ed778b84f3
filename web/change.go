package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// changes are what POST does to directories and mutable files, by t=.
var changes = map[string]func(*request) error{
	"mkdir":               (*request).makeAtPath,
	"mkdir-with-children": (*request).makeAtPath,
	"mkdir-immutable":     (*request).makeAtPath,
	"upload":              (*request).uploadAtPath,
	"uri":                 (*request).linkByForm,
	"delete":              (*request).unlinkByForm,
	"unlink":              (*request).unlinkByForm,
	"rename":              (*request).renameByForm,
	"relink":              (*request).moveByForm,
	"set_children":        (*request).setChildren,
	"set-children":        (*request).setChildren,
}

// done ends a change: a browser goes where it is to be sent, a program gets the
// text.
func (q *request) done(to, text string) error {
	if to != "" {
		q.redirect(http.StatusFound, to)
		return nil
	}
	q.text(http.StatusOK, text)
	return nil
}

// newDirectory makes a directory as t= says, with the children in the body.
func (q *request) newDirectory() (file.Directory, error) {
	what := q.args.what()
	if what == "mkdir-immutable" {
		text, err := q.newImmutable()
		if err != nil {
			return file.Directory{}, err
		}
		c, err := file.Parse(text)
		d, _ := c.(file.Directory)
		return d, err
	}
	if format, err := q.args.format(tahoe.SDMF); err != nil || format == tahoe.CHK {
		return file.Directory{}, badRequest("A directory that can be changed is of the format SDMF or MDMF; for one that can't there is t=mkdir-immutable.")
	}
	o, err := q.mutableOptions()
	if err != nil {
		return file.Directory{}, err
	}
	var children []tarn.Link
	if what == "mkdir-with-children" {
		if children, err = q.children(tarn.ReplaceAny); err != nil {
			return file.Directory{}, err
		}
	}
	made, err := q.node.MakeDirectory(q.r.Context(), o, children...)
	if err != nil {
		return file.Directory{}, err
	}
	c, err := file.Parse(made.Cap)
	d, _ := c.(file.Directory)
	return d, err
}

// children are those that the body describes, as links.
func (q *request) children(r tarn.Replace) ([]tarn.Link, error) {
	entries, err := readChildren(q.r.Body)
	if err != nil {
		return nil, err
	}
	links := make([]tarn.Link, len(entries))
	for i, e := range entries {
		if e.Capability() == (file.Unknown{}) {
			return nil, badRequest("A child has neither rw_uri nor ro_uri; only in a directory that is made with t=mkdir-immutable can it be without both.")
		}
		links[i] = tarn.Link{Name: e.Name, Cap: e.Capability().String(), Metadata: string(e.Metadata), Replace: r}
		if e.Write != nil && e.Read != nil {
			links[i].ReadCap = e.Read.String()
		}
	}
	return links, nil
}

// makeAtPath makes a directory at the address, or one named name= in the
// directory there, and all that is missing above. t=mkdir leaves a directory
// that is there as it is.
func (q *request) makeAtPath() error {
	to, err := q.whenDone("URI:")
	if err != nil {
		return err
	}
	if name := q.args.get("name"); name != "" && q.r.Method == http.MethodPost {
		return q.makeNamed(name, to)
	}
	at, err := q.spot()
	if err != nil {
		return err
	}
	if at.there != nil {
		d, ok := at.there.Directory()
		switch {
		case !ok:
			return wrong{http.StatusConflict, "A file is in the way."}
		case q.args.what() != "mkdir":
			return tarn.ErrEntryExists
		}
		return q.done(to, d.String())
	}
	return q.makeIn(at.parent, at.name, tarn.ReplaceNone, to)
}

func (q *request) makeNamed(name, to string) error {
	replace := tarn.ReplaceNone
	if q.args.what() == "mkdir" {
		var err error
		if replace, err = q.replace(); err != nil {
			return err
		}
	}
	parent, err := q.targetDirectory()
	if err != nil {
		return err
	}
	return q.makeIn(parent, name, replace, to)
}

func (q *request) makeIn(parent file.Directory, name string, replace tarn.Replace, to string) error {
	if !parent.Writable() {
		return tarn.ErrReadOnly
	}
	d, err := q.newDirectory()
	if err != nil {
		return err
	}
	if err := q.putIn(parent, name, d, replace); err != nil {
		return err
	}
	return q.done(to, d.String())
}

// targetDirectory is the directory at the address, which is made if it is
// missing.
func (q *request) targetDirectory() (file.Directory, error) {
	root, err := q.capability()
	if err != nil {
		return file.Directory{}, err
	}
	return q.directories(root, q.address.path())
}

// uploadAtPath stores the file of a form: in the directory at the address, under
// name= or the file's own name, or at the address itself.
func (q *request) uploadAtPath() error {
	if q.args.file == nil {
		return badRequest("The file has to come in a form (multipart/form-data), in the field named file.")
	}
	if _, err := q.whenDone("URI:"); err != nil {
		return err
	}
	c, _, err := q.fileAt(source{q.args.file, -1}, q.uploadSpot)
	if err != nil {
		return err
	}
	to, err := q.whenDone(c.String())
	if err != nil {
		return err
	}
	return q.done(to, c.String())
}

func (q *request) uploadSpot() (spot, error) {
	name := strings.TrimSpace(q.args.get("name"))
	links, err := q.links()
	switch {
	case err == nil:
		l := links[len(links)-1]
		if _, isDirectory := l.Directory(); !isDirectory {
			return spot{l.Parent, l.Name, &l}, nil
		}
	case name == "" && !q.address.folder:
		return q.spot()
	}
	if name == "" {
		name = cleanName(q.args.fileName)
	}
	if name == "" || strings.Contains(name, "/") {
		return spot{}, badRequest("Under which name? Say it with name=, without a slash.")
	}
	d, err := q.targetDirectory()
	if err != nil {
		return spot{}, err
	}
	return q.find(d, name)
}

// find is a name in a directory.
func (q *request) find(d file.Directory, name string) (spot, error) {
	links, err := tarn.Follow(q.r.Context(), q.node, d, []string{name}, q.how()...)
	switch {
	case errors.Is(err, tarn.ErrNoEntry), errors.Is(err, tarn.ErrBadEntry):
		return spot{parent: d, name: name}, nil
	case err != nil:
		return spot{}, err
	}
	return spot{d, name, &links[1]}, nil
}

// linkByForm puts uri= under name= into the directory at the address.
func (q *request) linkByForm() error {
	to, err := q.whenDone("URI:")
	if err != nil {
		return err
	}
	name := q.args.get("name")
	if q.args.get("uri") == "" || name == "" {
		return badRequest("What is to be linked, and how is it to be called? Say it with uri= and name=.")
	}
	c, err := parseCapability(q.args.get("uri"))
	if err != nil {
		return err
	}
	replace, err := q.replace()
	if err != nil {
		return err
	}
	d, err := q.targetDirectory()
	if err != nil {
		return err
	}
	if err := q.putIn(d, name, c, replace); err != nil {
		return err
	}
	return q.done(to, q.args.get("uri"))
}

// existingDirectory is the directory at the address, which has to be there.
func (q *request) existingDirectory() (file.Directory, error) {
	c, err := q.capability()
	if err != nil {
		return file.Directory{}, err
	}
	return q.directoryAt(c, q.address.path())
}

// unlinkByForm takes name= out of the directory at the address.
func (q *request) unlinkByForm() error {
	to, err := q.whenDone("")
	if err != nil {
		return err
	}
	d, err := q.existingDirectory()
	if err != nil {
		return err
	}
	if _, err := q.node.Unlink(q.r.Context(), d.String(), q.args.get("name"), q.how()...); err != nil {
		return err
	}
	return q.done(to, "thing unlinked")
}

func (q *request) renameByForm() error {
	if q.args.has("to_dir") {
		return badRequest("to_dir= is for t=relink.")
	}
	if !q.args.has("to_name") {
		return badRequest("The new name is missing; say it with to_name=.")
	}
	return q.moveByForm()
}

// moveByForm gives from_name= in the directory at the address another name, in
// the directory to_dir= if there is one.
func (q *request) moveByForm() error {
	to, err := q.whenDone("")
	if err != nil {
		return err
	}
	replace, err := q.replace()
	if err != nil {
		return err
	}
	from, newName := strings.TrimSpace(q.args.get("from_name")), strings.TrimSpace(q.args.get("to_name"))
	if !q.args.has("to_name") {
		newName = from
	}
	if !q.args.has("from_name") || strings.Contains(from+newName, "/") {
		return badRequest("from_name= is missing, or a name has a slash in it.")
	}
	d, err := q.existingDirectory()
	if err != nil {
		return err
	}
	target := d
	if q.args.has("to_dir") {
		if target, err = q.moveTarget(d, from, strings.TrimSpace(q.args.get("to_dir"))); err != nil {
			return err
		}
	}
	if err := q.node.Rename(q.r.Context(), d.String(), from, target.String(), newName, replace, q.how()...); err != nil {
		return err
	}
	return q.done(to, "thing moved")
}

// moveTarget is the directory CAP/PATH, to which the child of another one is to be
// moved; not into itself.
func (q *request) moveTarget(d file.Directory, child, text string) (file.Directory, error) {
	names := strings.Split(text, "/")
	c, err := parseCapability(names[0])
	if err != nil {
		return file.Directory{}, err
	}
	names = names[1:]
	if n := len(names); n > 0 && names[n-1] == "" {
		names = names[:n-1]
	}
	way, err := tarn.Follow(q.r.Context(), q.node, c, names, q.how()...)
	if err != nil {
		return file.Directory{}, err
	}
	if moved, err := tarn.Follow(q.r.Context(), q.node, d, []string{child}, q.how()...); err == nil { // else moving it tells
		if err := tarn.CheckMove(moved[len(moved)-1], way); err != nil {
			return file.Directory{}, err
		}
	}
	target, ok := way[len(way)-1].Directory()
	if !ok {
		return target, badRequest("This is for directories.")
	}
	return target, nil
}

// setChildren puts the children that the body describes into the directory at
// the address, all or none.
func (q *request) setChildren() error {
	replace, err := q.replace()
	if err != nil {
		return err
	}
	links, err := q.children(replace)
	if err != nil {
		return err
	}
	d, err := q.targetDirectory()
	if err != nil {
		return err
	}
	if _, err := q.node.Link(q.r.Context(), d.String(), links, q.how()...); err != nil {
		return err
	}
	q.text(http.StatusOK, "Okay so I did it.")
	return nil
}
