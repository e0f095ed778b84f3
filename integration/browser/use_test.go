//go:build integration

package browser_test

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// button is the one with this text, of the form that has a field.
func button(field string) chromedp.CSS {
	return chromedp.CSS(`form:has(` + field + `) button`)
}

// fill types into a field.
func fill(field, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(field), text)
}

// choose picks the file that a form is to send.
func choose(path string) chromedp.Action[chromedp.Void] {
	return chromedp.SetUploadFiles(chromedp.CSS(`input[type=file]`), []string{path})
}

// press sends a form.
func (b *tab) press(status int64, what chromedp.CSS) {
	b.t.Helper()
	b.follow(status, chromedp.Click(what))
}

// link goes where the link with this name leads.
func (b *tab) link(name string) {
	b.t.Helper()
	b.follow(200, chromedp.Click(`//a[normalize-space(.)="`+name+`" or @aria-label="`+name+`"]`))
}

// entries are the names that a directory's page lists.
func (b *tab) entries() []string {
	b.t.Helper()
	return evaluate[[]string](b, `[...document.querySelectorAll("tbody th")].map(e => e.textContent)`)
}

func (b *tab) want(names ...string) {
	b.t.Helper()
	if got := b.entries(); !slices.Equal(got, names) {
		b.t.Errorf("listed are %q, want %q", got, names)
	}
}

func (b *tab) says(part string) {
	b.t.Helper()
	if text := evaluate[string](b, `document.body.innerText`); !strings.Contains(text, part) {
		b.t.Errorf("no %q in %s", part, text)
	}
}

// Somebody who only clicks and types makes directories, stores, opens, renames,
// replaces and unlinks, checks, and finds the way back from what goes wrong.
func TestForms(t *testing.T) {
	at := gateway(t)
	b := open(t)
	b.do(chromedp.EmulateViewport(360, 800))
	dir := t.TempDir()
	letter := filepath.Join(dir, "Letter ☃ #1%.txt")
	check(t, os.WriteFile(letter, []byte(strings.Repeat("Dear reader. ", 1000)), 0o600))

	b.visit(at, 200)
	b.follow(200, chromedp.Click(button(`[value=mkdir]`)))
	b.says("It is empty")
	top := evaluate[string](b, `location.href`)
	b.do(choose(letter))
	b.press(200, button(`[type=file]`))
	b.do(fill(`form:has([value=mkdir]) [name=name]`, "Photos & more"))
	b.press(200, button(`[value=mkdir]`))
	b.want("Photos & more", "Letter ☃ #1%.txt")
	b.says("13kB")

	check(t, os.WriteFile(letter, []byte(strings.Repeat("A second version. ", 100)), 0o600))
	b.do(choose(letter))
	b.press(409, button(`[type=file]`))
	b.says("already")
	b.link("Back to the directory")
	b.do(choose(letter), chromedp.Click(chromedp.CSS(`form:has([type=file]) [type=checkbox]`)))
	b.press(200, button(`[type=file]`))
	b.link("Letter ☃ #1%.txt")
	b.says("A second version.")
	if where := evaluate[string](b, `location.pathname`); !strings.HasPrefix(where, "/named/") {
		t.Errorf("a file of a directory is at %s", where)
	}

	b.visit(top, 200)
	b.do(chromedp.Click(`//summary[@aria-label="Change Letter ☃ #1%.txt"]`), chromedp.WaitVisible(`//a[@aria-label="Rename Letter ☃ #1%.txt"]`))
	b.link("Rename Letter ☃ #1%.txt")
	b.do(chromedp.Clear(chromedp.CSS(`[name=to_name]`)), fill(`[name=to_name]`, "letter"))
	b.press(200, button(`[name=to_name]`))
	b.want("Photos & more", "letter")

	b.link("Photos & more")
	b.do(fill(`[name=uri]`, "URI:LIT:krugkidfnzsc4"), fill(`form:has([name=uri]) [name=name]`, "the end"))
	b.press(200, button(`[name=uri]`))
	b.want("the end")
	below := evaluate[string](b, `location.href`)
	b.link("About the end")
	b.says("URI:LIT:krugkidfnzsc4")
	b.visit(below, 200) // from a file alone nothing leads to the directory
	b.do(chromedp.Click(`//summary`), chromedp.WaitVisible(chromedp.CSS(`button.danger`)))
	b.press(200, `button.danger`)
	b.says("It is empty")
	b.link("top")
	b.want("Photos & more", "letter")

	b.link("About letter")
	b.press(200, button(`[name=verify]`))
	b.says("Healthy")
	b.link("About it")
	b.visit(top, 200)
	b.link("About this directory")
	b.follow(200, chromedp.Click(button(`[name=ophandle]`)))
	b.says("Directories")
	for _, said := range b.said() { // a stored file is shown without a picture in the tab
		if !strings.Contains(said, "409") && !strings.Contains(said, "favicon.ico") {
			t.Errorf("the browser says %s", said)
		}
	}

	b.visit(at, 200)
	capability, err := url.PathUnescape(strings.Split(strings.TrimPrefix(top, at+"uri/"), "/")[0])
	check(t, err)
	b.do(fill(`form[method=get] [name=uri]`, capability))
	b.press(200, `form[method=get] button`)
	b.want("Photos & more", "letter")
	b.visit(at, 200)
	b.do(choose(letter))
	b.press(200, button(`[type=file]`))
	b.says("Its capability")
	b.link("Open it")
	b.says("A second version.")
}
