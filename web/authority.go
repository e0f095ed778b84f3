package web

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
)

// authorityHeaders carry an authority, whole or in parts that are joined in the
// order of their numbers: X-Tarn-Authority-00, X-Tarn-Authority-01 and so on. The
// second is the one that Tahoe-LAFS drafted.
var authorityHeaders = []string{"X-Tarn-Authority", "X-Tahoe-Storage-Authority"}

// readAuthority finds the authority that comes with a request: the text of one,
// or that in base64, in which it fits into a header.
func (g *gateway) readAuthority(r *http.Request, a *arguments) (lease.Authority, error) {
	text := a.get("cred")
	if text == "" {
		text = headerText(r.Header)
	}
	if text == "" {
		return lease.Authority{}, nil
	}
	if !strings.Contains(text, "-----BEGIN") {
		decoded, err := decodeBase64(text)
		if err != nil {
			return lease.Authority{}, badRequest("The authority is neither the text of one nor that in base64.")
		}
		text = string(decoded)
	}
	authority, err := g.node.ReadAuthority(strings.NewReader(text))
	if err != nil {
		return lease.Authority{}, badRequest("The authority can't be used: %v.", err)
	}
	return authority, nil
}

// decodeBase64 reads either alphabet, with or without padding.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	return base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
}

func headerText(h http.Header) string {
	for _, name := range authorityHeaders {
		if text := h.Get(name); text != "" {
			return text
		}
		parts := map[int]string{}
		for key := range h {
			if n, err := strconv.Atoi(strings.TrimPrefix(key, name+"-")); err == nil && strings.HasPrefix(key, name+"-") {
				parts[n] = h.Get(key)
			}
		}
		var text strings.Builder
		for _, n := range slices.Sorted(maps.Keys(parts)) {
			text.WriteString(parts[n])
		}
		if text.Len() > 0 {
			return text.String()
		}
	}
	return ""
}

// under is the option to use an authority, or none.
func under(a lease.Authority) []tarn.Option {
	if len(a.Holdings) == 0 {
		return nil
	}
	return []tarn.Option{tarn.Under(a)}
}
