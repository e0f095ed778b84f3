package web

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// The first elements of paths. /cap means what /uri means, and /file what
// /named means.
const (
	rootURI        = "uri"
	rootCap        = "cap"
	rootNamed      = "named"
	rootFile       = "file"
	rootOperations = "operations"
	rootStatistics = "statistics"
	rootStatus     = "status"
	rootHelper     = "helper_status"
	rootStyle      = "style.css"
	rootIcon       = "icon.svg"
)

// address is what a request's path says.
type address struct {
	root     string   // the first element, "" of the path /
	elements []string // those behind it, unescaped
	folder   bool     // the path ends with a slash, which is no element
}

// parseAddress cuts a path that is still percent-encoded: a slash in a name is
// %2F. false means that it can't be one of the gateway's, or that a name is not
// UTF-8.
func parseAddress(escaped string) (address, bool) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return address{}, false
	}
	var a address
	for i, part := range strings.Split(rest, "/") {
		name, err := url.PathUnescape(part)
		if err != nil || !utf8.ValidString(name) {
			return address{}, false
		}
		if i == 0 {
			a.root = name
		} else {
			a.elements = append(a.elements, name)
		}
	}
	if last := len(a.elements) - 1; last >= 0 && a.elements[last] == "" {
		a.elements, a.folder = a.elements[:last], true
	}
	return a, true
}

// path is the way to an object below the address's first element, the
// capability.
func (a address) path() []string { return a.elements[1:] }

// objectPath is the path of an object of the gateway, percent-encoded: the
// capability, and the names below it.
func objectPath(capability string, names ...string) string {
	var b strings.Builder
	b.WriteString("/" + rootURI + "/" + url.PathEscape(capability))
	for _, name := range names {
		b.WriteString("/" + url.PathEscape(name))
	}
	return b.String()
}

// namedPath is the path under which a file is shown or saved under a name. It
// does not lead to the directory that the file is in.
func namedPath(capability, name string) string {
	return "/" + rootNamed + "/" + url.PathEscape(capability) + "/@@named=/" + url.PathEscape(name)
}
