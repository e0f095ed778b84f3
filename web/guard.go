package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Guard answers only who may ask, and gives every answer the headers that keep
// browsers from guessing, embedding and telling. Hosts are the names of the server
// besides those of the loopback interface; setting says where they stand.
func Guard(next http.Handler, hosts []string, setting string) http.Handler {
	allowed := make(map[string]bool, len(hosts)+1)
	for _, h := range append([]string{"localhost"}, hosts...) {
		allowed[canonicalHost(h)] = true
	}
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSafeHeaders(w.Header())
		if !hostAllowed(r.Host, allowed) {
			fail(w, http.StatusForbidden, "This gateway does not go by that name. If it should, add the name to "+setting+" in tarn.yaml.")
			return
		}
		if err := crossOrigin.Check(r); err != nil || embedded(r) {
			fail(w, http.StatusForbidden, "A page of another site asked for this, so it was not done.")
			return
		}
		if r.Header.Get("Service-Worker") != "" {
			fail(w, http.StatusForbidden, "Nothing that is stored here works inside a browser.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// embedded reports whether a page of another site wants to have the answer in
// it. It could not read it, but what it names would be fetched, and whoever
// runs the page and a storage server would know who asked. A link that the
// user follows is something else.
func embedded(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return false
}

func setSafeHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Security-Policy", filePolicy)
}

// hostAllowed looks at the name only: a forwarded port is the user's own
// affair, while a page elsewhere can choose any port but not our names.
func hostAllowed(host string, allowed map[string]bool) bool {
	name := hostName(host)
	if addr, err := netip.ParseAddr(name); err == nil && addr.IsLoopback() {
		return true
	}
	return allowed[canonicalHost(name)]
}

func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func canonicalHost(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".")
}
