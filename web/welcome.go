package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/tahoe"
)

const (
	// pagePolicy is for the gateway's own pages: no script, its own style and icon
	// only, forms that go nowhere else.
	pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
	// pageReferrer tells no path. Without any referrer a browser would send a form
	// as if it did not know whose it is.
	pageReferrer = "strict-origin"
)

//go:embed pages
var pageFiles embed.FS

var (
	welcomePage   = parsePage("welcome")
	directoryPage = parsePage("directory")
	infoPage      = parsePage("info")
	storedPage    = parsePage("stored")
	operationPage = parsePage("operation")
	statusPage    = parsePage("status")
	transferPage  = parsePage("transfer")
	renamePage    = parsePage("rename")
	errorPage     = parsePage("error")
)

// parsePage reads a page and what all pages have in common.
func parsePage(name string) *template.Template {
	return template.Must(template.New(name+".html").ParseFS(pageFiles, "pages/frame.html", "pages/"+name+".html"))
}

// welcome is the page at /, or with ?t=json what Tahoe answers there.
func (q *request) welcome() error {
	status, err := q.node.Status(q.r.Context())
	if err != nil {
		return err
	}
	switch q.args.what() {
	case "json":
		q.w.Header().Set("Cache-Control", "no-store")
		return q.json(welcomeJSON(status))
	case "":
		return q.page(welcomePage, view(status))
	}
	return badRequest("Unknown t=; there is t=json.")
}

// json answers with an object.
func (q *request) json(object any) error {
	q.w.Header().Set("Content-Type", jsonType)
	encoder := json.NewEncoder(tahoe.NewASCIIWriter(q.w))
	encoder.SetIndent("", " ")
	return encoder.Encode(object)
}

// page answers with one of the gateway's own pages. Where it can be put into a
// cache was said before, if anywhere.
func (q *request) page(t *template.Template, data any) error {
	return writePage(q.w, http.StatusOK, t, data)
}

func writePage(w http.ResponseWriter, status int, t *template.Template, data any) error {
	var page bytes.Buffer
	if err := t.Execute(&page, data); err != nil {
		return fmt.Errorf("make the page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", pageReferrer)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the client is gone if this fails
	return nil
}

func (q *request) style() error { return q.pageFile(rootStyle, "text/css; charset=utf-8") }

func (q *request) icon() error { return q.pageFile(rootIcon, "image/svg+xml") }

// pageFile answers with what pages are made of.
func (q *request) pageFile(name, kind string) error {
	q.w.Header().Set("Content-Type", kind)
	q.w.Header().Set("Cache-Control", "no-cache")
	text, err := pageFiles.ReadFile("pages/" + name)
	if err == nil {
		_, _ = q.w.Write(text) // the client is gone if this fails
	}
	return err
}

// welcomeView is what the template shows.
type welcomeView struct {
	Nickname, Version string
	Introducers       []row
	Servers           []row
	Connected         int
	Accounts          int // servers at which the node has an account that works
}

type row struct{ Name, ID, State, Since string }

func view(s tarn.Status) welcomeView {
	v := welcomeView{Nickname: s.Nickname, Version: s.Version}
	if v.Nickname == "" {
		v.Nickname = "unnamed"
	}
	for _, i := range s.Introducers {
		v.Introducers = append(v.Introducers, row{ID: i.Ref.Server.Short(), State: introducerSummary(i), Since: clock(i.Since)})
	}
	for _, server := range s.Servers {
		if usable(server) {
			v.Connected++
		}
		if server.LoggedIn {
			v.Accounts++
		}
		v.Servers = append(v.Servers, row{server.Name(), server.Server.Short(), serverSummary(server), clock(server.Since)})
	}
	return v
}
