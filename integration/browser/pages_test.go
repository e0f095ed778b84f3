//go:build integration

package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// place is a page with the status that it has.
type place struct {
	name, url string
	status    int64
}

// places are all kinds of pages, of a gateway on which something is stored.
func places(t *testing.T, at string) []place {
	t.Helper()
	file := send(t, "PUT", at+"uri", strings.Repeat("Dear reader. ", 100_000))
	top := send(t, "POST", at+"uri?t=mkdir", "")
	sub := send(t, "POST", at+"uri/"+top+"/A%20directory%20in%20it?t=mkdir", "")
	send(t, "PUT", at+"uri/"+top+"/A%20directory%20in%20it/deeper/note.txt", "hello")
	children := map[string]any{}
	for i := range 30 {
		children[fmt.Sprintf("Photo %02d.jpg", i)] = []any{"filenode", map[string]any{"ro_uri": file}}
	}
	children["a-very-long-name-without-any-space-"+strings.Repeat("x", 180)+".tar.gz"] = []any{"filenode", map[string]any{"ro_uri": file}}
	children["Ünïcode ☃ <b>& \"quotes\" 文件.txt"] = []any{"filenode", map[string]any{"ro_uri": "URI:LIT:krugkidfnzsc4"}}
	children["from the future"] = []any{"unknown", map[string]any{"ro_uri": "ro.URI:NEW:x"}}
	text, err := json.Marshal(children)
	check(t, err)
	send(t, "POST", at+"uri/"+top+"/?t=set-children", string(text))
	send(t, "PUT", at+"uri/"+top+"/notes?format=SDMF", "These can be changed.")
	empty := send(t, "POST", at+"uri?t=mkdir", "")
	fixed := send(t, "POST", at+"uri?t=mkdir-immutable", `{"letter": ["filenode", {"ro_uri": "`+file+`"}]}`)
	for o, root := range map[string]string{"deep-stats": top, "manifest": top, "deep-check": fixed} {
		send(t, "POST", at+"uri/"+root+"/?t=start-"+o+"&ophandle="+o, "")
		nodes.Until(t, o+" has ended", patience, func() bool {
			return strings.Contains(send(t, "GET", at+"operations/"+o+"?output=JSON", ""), `"finished": true`)
		})
	}
	dir := at + "uri/" + url.PathEscape(top)
	return []place{
		{"welcome", at, 200},
		{"directory", dir + "/", 200},
		{"directory-below", dir + "/A%20directory%20in%20it/deeper/", 200},
		{"directory-read-only", at + "uri/" + url.PathEscape(send(t, "GET", at+"uri/"+sub+"?t=readonly-uri", "")) + "/", 200},
		{"directory-empty", at + "uri/" + url.PathEscape(empty) + "/", 200},
		{"directory-immutable", at + "uri/" + url.PathEscape(fixed) + "/", 200},
		{"about-file", at + "uri/" + url.PathEscape(file) + "?t=info", 200},
		{"about-named-file", dir + "/notes?t=info", 200},
		{"about-directory", dir + "?t=info", 200},
		{"about-unknown", dir + "/from%20the%20future?t=info", 200},
		{"rename", dir + "/?t=rename-form&name=Photo%2001.jpg", 200},
		{"deep-stats", at + "operations/deep-stats", 200},
		{"manifest", at + "operations/manifest", 200},
		{"deep-check", at + "operations/deep-check", 200},
		{"transfers", at + "status", 200},
		{"statistics", at + "statistics", 200},
		{"error-name", dir + "/nothing/of/that/name", 404},
		{"error-capability", at + "uri/URI:CHK:nonsense", 400},
		{"error-address", at + "nowhere", 404},
		{"error-operation", at + "operations/nothing", 404},
	}
}

// Each page fits a phone and a desk, in light and dark, has what screen readers
// and keyboards need, no complaint of the browser and no capability in its title.
func TestPages(t *testing.T) {
	at := gateway(t)
	all := places(t, at)
	b := open(t)
	for _, look := range []struct {
		width  int64
		scheme string
	}{{360, "light"}, {360, "dark"}, {1280, "light"}, {1280, "dark"}} {
		b.do(chromedp.EmulateViewport(look.width, 800), scheme(look.scheme))
		for _, p := range all {
			t.Run(fmt.Sprintf("%s %d %s", p.name, look.width, look.scheme), func(t *testing.T) {
				b.said()
				b.visit(p.url, p.status)
				b.picture(fmt.Sprintf("%s-%d-%s", p.name, look.width, look.scheme))
				for _, c := range b.said() {
					if p.status == 200 || !strings.Contains(c, "the server responded with a status of") {
						t.Errorf("the browser says %s", c)
					}
				}
				for _, wrong := range evaluate[[]string](b, inspection) {
					t.Error(wrong)
				}
				if look.scheme == "light" {
					b.tabThrough(t)
				}
			})
		}
	}
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// picture saves what is seen into $TARN_PICTURES, if there is one.
func (b *tab) picture(name string) {
	dir := os.Getenv("TARN_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	check(b.t, err)
	check(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

// inspection lists in words what is wrong with a page.
const inspection = `(() => {
	const wrong = [];
	const name = e => (e.outerHTML || "").slice(0, 100);
	const root = document.documentElement;
	if (root.scrollWidth > innerWidth) {
		wrong.push("it is " + root.scrollWidth + " pixels wide in a window of " + innerWidth);
	}
	if (root.lang !== "en") wrong.push("its language is not said");
	if (!document.title || /URI:/.test(document.title)) wrong.push("its title is " + document.title);
	if (document.querySelectorAll("h1").length !== 1) wrong.push("it has not one h1");
	if (document.querySelectorAll("main").length !== 1) wrong.push("it has not one main part");
	if (document.scripts.length) wrong.push("it has a script");
	let level = 1;
	for (const h of document.querySelectorAll("h1,h2,h3,h4")) {
		if (+h.tagName[1] > level + 1) wrong.push("a heading leaves a level out: " + name(h));
		level = +h.tagName[1];
	}
	for (const e of document.querySelectorAll("input:not([type=hidden]),select,textarea")) {
		if (![...e.labels || []].some(l => l.textContent.trim()) && !e.getAttribute("aria-label")) wrong.push("it has no label: " + name(e));
	}
	for (const e of document.querySelectorAll("a[href],button,summary")) {
		if (!e.textContent.trim() && !e.getAttribute("aria-label")) wrong.push("it has no name: " + name(e));
		const box = e.getBoundingClientRect();
		if (innerWidth < 500 && box.width && box.height < 24) wrong.push("a finger misses it, " + box.height + " pixels high: " + name(e));
	}
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	if (new Set(ids).size !== ids.length) wrong.push("two elements have one id");
	for (const e of document.querySelectorAll("[aria-labelledby]")) {
		if (!document.getElementById(e.getAttribute("aria-labelledby"))) wrong.push("what labels it is not there: " + name(e));
	}
	const channels = text => (text.match(/[\d.]+/g) || []).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const paper = e => {
		for (; e; e = e.parentElement) {
			const c = channels(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.textContent.trim() || !e.checkVisibility()) continue;
		const [a, b] = [light(channels(getComputedStyle(e).color)), light(paper(e))];
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) wrong.push("its contrast is " + contrast.toFixed(1) + ": " + name(e));
	}
	return wrong;
})()`

// tabThrough goes along the page with the tab key, and wants to come to all that
// can be used, and to see where it is.
func (b *tab) tabThrough(t *testing.T) {
	t.Helper()
	const usable = `[...document.querySelectorAll("a[href],button,summary,select,textarea,input:not([type=hidden])")].filter(e => e.checkVisibility()).length`
	const focused = `(() => {
		const e = document.activeElement;
		if (e === document.body) return "";
		const s = getComputedStyle(e);
		window.reached = (window.reached || new Set()).add(e);
		return s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2 ? "it can't be seen that this has the focus: " + e.outerHTML.slice(0, 100) : "ok";
	})()`
	n := evaluate[int](b, usable)
	for range min(n, 200) {
		b.do(chromedp.KeyEvent("\t"))
		if state := evaluate[string](b, focused); state != "ok" {
			t.Error(state)
			return
		}
	}
	if reached := evaluate[int](b, `window.reached ? window.reached.size : 0`); reached != n {
		t.Errorf("the keyboard comes to %d of %d", reached, n)
	}
}
