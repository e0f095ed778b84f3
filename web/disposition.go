package web

import (
	"mime"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filePolicy takes from stored content, should a browser show it, every right
// of this origin: no script, no form, no request.
const filePolicy = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"

const binaryType = "application/octet-stream"

// types by extension. The system's table is not asked: it differs from one
// machine to the next. Only what is shown is passive; the rest is saved.
var types = map[string]fileType{
	".avif": {"image/avif", true}, ".bmp": {"image/bmp", true}, ".gif": {"image/gif", true},
	".ico": {"image/x-icon", true}, ".jpeg": {"image/jpeg", true}, ".jpg": {"image/jpeg", true},
	".png": {"image/png", true}, ".webp": {"image/webp", true},
	".flac": {"audio/flac", true}, ".m4a": {"audio/mp4", true}, ".mp3": {"audio/mpeg", true},
	".oga": {"audio/ogg", true}, ".ogg": {"audio/ogg", true}, ".opus": {"audio/ogg", true}, ".wav": {"audio/wav", true},
	".mp4": {"video/mp4", true}, ".ogv": {"video/ogg", true}, ".webm": {"video/webm", true},
	".csv": {"text/csv; charset=utf-8", true}, ".log": {"text/plain; charset=utf-8", true},
	".md": {"text/markdown; charset=utf-8", true}, ".txt": {"text/plain; charset=utf-8", true},
	".css": {"text/css; charset=utf-8", false}, ".htm": {"text/html; charset=utf-8", false},
	".html": {"text/html; charset=utf-8", false}, ".js": {"text/javascript; charset=utf-8", false},
	".json": {"application/json", false}, ".mjs": {"text/javascript; charset=utf-8", false},
	".svg": {"image/svg+xml", false}, ".xhtml": {"application/xhtml+xml", false}, ".xml": {"application/xml", false},
	".pdf": {"application/pdf", false}, ".epub": {"application/epub+zip", false},
	".gz": {"application/gzip", false}, ".tar": {"application/x-tar", false}, ".zip": {"application/zip", false},
}

// fileType is what a browser is told of a file.
type fileType struct {
	name  string
	shown bool
}

func typeOf(name string) fileType {
	if known, ok := types[strings.ToLower(path.Ext(name))]; ok {
		return known
	}
	return fileType{name: binaryType}
}

// ContentType is what a file is by its name.
func ContentType(name string) string { return typeOf(name).name }

// setDisposition gives a file a type and a name to save under. With save it is
// saved and not shown in any case.
func setDisposition(h http.Header, name string, save bool) {
	name = cleanName(name)
	known := typeOf(name)
	h.Set("Content-Type", known.name)
	if name == "" && !save {
		return
	}
	how := "attachment"
	if known.shown && !save {
		how = "inline"
	}
	var parameters map[string]string
	if name != "" {
		parameters = map[string]string{"filename": name}
	}
	h.Set("Content-Disposition", mime.FormatMediaType(how, parameters))
}

// cleanName keeps the last element of a name, without what could mislead a
// shell, a file system or an eye; "" if nothing is left.
func cleanName(name string) string {
	name = path.Base("/" + strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, name)
	for len(name) > 200 {
		_, size := utf8.DecodeRuneInString(name)
		name = name[size:] // the extension is at the end
	}
	if strings.Trim(name, "./ ") == "" {
		return ""
	}
	return name
}
