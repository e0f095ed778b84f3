package web

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
)

const stylePath = "/style.css"

// pagePolicy is for the gateway's own page: no script, its own style only.
const pagePolicy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"

var (
	//go:embed pages/welcome.html
	welcomeText string
	//go:embed pages/style.css
	styleText string

	welcomePage = template.Must(template.New("welcome").Parse(welcomeText))
)

// welcome is the page at /, or with ?t=json what Tahoe answers there.
func (g *gateway) welcome(w http.ResponseWriter, r *http.Request) {
	status, err := g.node.Status(r.Context())
	if err != nil {
		g.failed(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Query().Get("t") == "json" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		_ = encoder.Encode(welcomeJSON(status)) // the client is gone if this fails
		return
	}
	g.page(w, r, status)
}

func (g *gateway) page(w http.ResponseWriter, r *http.Request, status tarn.Status) {
	var page bytes.Buffer
	if err := welcomePage.Execute(&page, view(status)); err != nil {
		g.failed(w, r, fmt.Errorf("make the page: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	_, _ = w.Write(page.Bytes())
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = io.WriteString(w, styleText)
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

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}
