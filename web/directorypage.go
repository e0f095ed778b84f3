package web

import (
	"crypto/rand"
	"net/url"
	"strconv"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// directoryView is what a directory's page shows.
type directoryView struct {
	Title   string
	Kind    string
	Trail   []step // the directories above, from the first on
	Rows    []entryRow
	Entries int
	Damaged int // entries that can't be used
	Here    string
	// Writable says that forms to change it are shown.
	Writable bool
	// Earlier and Later lead to the pages before and behind this one, if any.
	Earlier, Later string
}

// rowsPerPage is how many entries a page shows.
const rowsPerPage = 1000

// step is a directory on the way.
type step struct{ Name, Link string }

// entryRow is a line of a listing. Link is empty where nothing can be shown.
type entryRow struct {
	Name, Link, Info string
	Kind, Size       string
	Changed          string
	Rename           string
}

// directoryPage shows a directory that can be gone through. Directories keep the
// address through which they were reached, so that there is a way back; files
// have one of their own, from which nothing leads to the directory.
func (q *request) directoryPage(l tarn.Found, c file.Directory) error {
	content, err := q.node.ReadDirectory(q.r.Context(), c, q.how()...)
	if err != nil {
		return err
	}
	v := directoryView{
		Title: "Directory", Kind: directoryKind(c), Trail: q.trail(len(q.address.path())), Entries: content.Len(),
		Here: objectPath(q.address.elements[0], q.address.path()...) + "/", Writable: c.Writable(),
	}
	if l.Name != "" {
		v.Title = l.Name
	}
	return v.showPage(q, content)
}

// showPage answers with the entries of the page that page= names.
func (v directoryView) showPage(q *request, content *directory.Directory) error {
	names, damaged := directoriesFirst(content)
	v.Damaged = damaged
	number := 1
	if q.args.has("page") {
		n, err := strconv.Atoi(q.args.get("page"))
		if err != nil || n < 1 || n > 1 && n > (len(names)+rowsPerPage-1)/rowsPerPage {
			return badRequest("There is no such page; page= is a number from 1 on.")
		}
		number = n
	}
	to := func(n int) string { return v.Here + "?page=" + strconv.Itoa(n) }
	if number > 1 {
		v.Earlier = to(number - 1)
	}
	if number*rowsPerPage < len(names) {
		v.Later = to(number + 1)
	}
	for _, name := range names[(number-1)*rowsPerPage : min(number*rowsPerPage, len(names))] {
		e, _ := content.Entry(name)
		v.Rows = append(v.Rows, rowOf(e, v.Here))
	}
	return q.page(directoryPage, v)
}

// directoriesFirst are the names of all entries, those of directories before the
// others, and how many can't be used.
func directoriesFirst(content *directory.Directory) (names []string, damaged int) {
	var others []string
	for _, name := range content.Names() {
		e, _ := content.Entry(name)
		if e.Err != nil {
			damaged++
		}
		if _, isDirectory := e.Capability().(file.Directory); isDirectory {
			names = append(names, name)
		} else {
			others = append(others, name)
		}
	}
	return append(names, others...), damaged
}

// trail are the directories of which the address goes through n, from its
// capability on.
func (q *request) trail(n int) []step {
	var all []step
	root, path := q.address.elements[0], q.address.path()
	for i := range n {
		name := "top"
		if i > 0 {
			name = path[i-1]
		}
		all = append(all, step{name, objectPath(root, path[:i]...) + "/"})
	}
	return all
}

func directoryKind(c file.Directory) string {
	switch {
	case c.Immutable():
		return "immutable"
	case c.Writable():
		return "can be changed"
	}
	return "read-only"
}

func rowOf(e directory.Entry, here string) entryRow {
	row := entryRow{Name: e.Name, Changed: changed(e.Metadata), Rename: here + "?t=rename-form&name=" + url.QueryEscape(e.Name)}
	if e.Err != nil {
		row.Kind = "damaged"
		return row
	}
	c := e.Capability()
	row.Info = objectPath(c.String()) + "?t=info"
	switch c := c.(type) {
	case file.Directory:
		row.Kind = "directory"
		row.Link = here + url.PathEscape(e.Name) + "/"
		return row
	case file.Unknown:
		row.Kind = "unknown"
		row.Info = here + url.PathEscape(e.Name) + "?t=info" // both capabilities are in the directory alone
		return row
	case file.Mutable:
		row.Kind = "mutable file"
	default:
		row.Kind = "file"
		if size := tahoe.SizeOf(c); size != nil {
			row.Size = grid.FormatSize(*size)
		}
	}
	row.Link = namedPath(c.String(), e.Name)
	return row
}

// changed is when a link last changed, or when the file that it names did,
// where a program says so.
func changed(m directory.Metadata) string {
	if _, when, ok := m.Linked(); ok {
		return clock(when)
	}
	if when, ok := m.Modified(); ok {
		return clock(when)
	}
	return ""
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

// infoView is the page about an object.
type infoView struct {
	Title string
	Trail []step
	Facts []fact
	Caps  []fact
	Links []step
	// Here is where forms send that ask for a check, "" where none makes sense;
	// Handle, for directories, is a new one for what takes long.
	Here, Handle string
}

// info is the page t=info: what an object is, and its capabilities.
func (q *request) info(l tarn.Found) error {
	c := l.Capability()
	v := infoView{Title: "About a file", Trail: q.trail(len(q.address.path())), Facts: []fact{{"Kind", describe(c)}}}
	if _, isDirectory := l.Directory(); isDirectory {
		v.Title = "About a directory"
	}
	if l.Name != "" {
		v.Title = "About " + l.Name
	}
	if size := tahoe.SizeOf(c); size != nil {
		v.Facts = append(v.Facts, fact{"Size", grid.FormatSize(*size)})
	}
	if when := changed(l.Metadata); when != "" {
		v.Facts = append(v.Facts, fact{"Changed", when})
	}
	if index := tahoe.StorageIndexText(c); index != "" {
		v.Facts = append(v.Facts, fact{"Storage index", index})
	}
	v.Caps = capabilities(l)
	v.Links = q.infoLinks(l)
	if _, stored := file.StorageIndexOf(c); stored {
		v.Here = objectPath(q.address.elements[0], q.address.path()...)
	}
	if _, ok := l.Directory(); ok {
		v.Handle = rand.Text()
	}
	return q.page(infoPage, v)
}

func capabilities(l tarn.Found) []fact {
	var caps []fact
	if l.Write != nil {
		caps = append(caps, fact{"To read and change it", l.Write.String()})
	}
	if l.Read != nil && l.Read != (file.Unknown{}) {
		caps = append(caps, fact{"To read it", l.Read.String()})
	}
	if v, err := file.Verifier(l.Capability()); err == nil {
		caps = append(caps, fact{"To check it, and no more", v.String()})
	}
	return caps
}

func (q *request) infoLinks(l tarn.Found) []step {
	c := l.Capability()
	here := objectPath(q.address.elements[0], q.address.path()...)
	links := []step{{"As JSON", here + "?t=json"}}
	switch c := c.(type) {
	case file.Directory:
		return append([]step{{"Open", here + "/"}}, append(links, step{"As it is stored", objectPath(c.File.String())})...)
	case file.Unknown, file.CHKVerifier:
		return links
	}
	name := l.Name
	if name == "" {
		name = "file"
	}
	return append([]step{{"Open", namedPath(c.String(), name)}, {"Save", namedPath(c.String(), name) + "?save=true"}}, links...)
}

// describe says in words what a capability is of.
func describe(c file.Capability) string {
	switch c := c.(type) {
	case file.Directory:
		if c.Immutable() {
			return "immutable directory"
		}
		return "directory"
	case file.Unknown:
		return "thing of unknown kind"
	case file.LIT:
		return "file that lies in its capability"
	case file.Mutable:
		return "mutable file (" + tahoe.FormatOf(c) + ")"
	}
	return "immutable file"
}

// renameForm is the page on which a name is changed.
func (q *request) renameForm(l tarn.Found) error {
	if _, ok := l.Directory(); !ok {
		return badRequest("This is for directories.")
	}
	return q.page(renamePage, struct {
		Title, Here, Name string
		Trail             []step
	}{"Rename", objectPath(q.address.elements[0], q.address.path()...) + "/", q.args.get("name"), q.trail(len(q.address.path()) + 1)})
}
