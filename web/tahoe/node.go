// Package tahoe is what Tahoe-LAFS says of files and directories in JSON, in
// answer to t=json (allmydata/web/filenode.py, directory.py): programs read it,
// and `tarn ls --json` prints it.
//
// Describe makes it of a link, WriteNode and WriteDirectory write it, Read reads
// it. All that is written is ASCII, as Tahoe's command line wants it. Line and
// CheckedLine are what is said of each object of a tree, in the lines of
// t=stream-manifest and t=stream-deep-check (allmydata/web/directory.py).
package tahoe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// What an object is called.
const (
	File      = "filenode"
	Directory = "dirnode"
	Unknown   = "unknown"
)

// Formats of files and directories.
const (
	CHK  = "CHK"
	SDMF = "SDMF"
	MDMF = "MDMF"
)

// Node is what is said of an object; it stands behind the type in a list of two.
type Node struct {
	Mutable  *bool           `json:"mutable,omitempty"` // absent if that is not known
	Format   string          `json:"format,omitempty"`
	Size     *int64          `json:"size,omitempty"` // bytes; absent if it is not known
	Read     string          `json:"ro_uri,omitempty"`
	Write    string          `json:"rw_uri,omitempty"`
	Verify   string          `json:"verify_uri,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// Describe says what a link leads to, as far as the link itself tells: of a
// mutable file the size is not known.
func Describe(l tarn.Found) (kind string, n Node) {
	c := l.Capability()
	if l.Write != nil {
		n.Write = l.Write.String()
	}
	if l.Read != nil {
		n.Read = l.Read.String()
	}
	if v, err := file.Verifier(c); err == nil {
		n.Verify = v.String()
	}
	if l.Parent.File != nil {
		n.Metadata = json.RawMessage(l.Metadata)
	}
	mutable := !c.Immutable()
	switch c := c.(type) {
	case file.Directory:
		n.Mutable = &mutable
		return Directory, n
	case file.Unknown:
		if l.Write != nil || c.Immutable() {
			n.Mutable = &mutable
		}
		return Unknown, n
	}
	n.Mutable, n.Format, n.Size = &mutable, FormatOf(c), SizeOf(c)
	return File, n
}

// FormatOf is how the shares are made of what c names.
func FormatOf(c file.Capability) string {
	if d, ok := c.(file.Directory); ok {
		c = d.File
	}
	m, ok := c.(file.Mutable)
	switch {
	case !ok:
		return CHK
	case m.MDMF():
		return MDMF
	}
	return SDMF
}

// SizeOf is the size that the capability itself says, in bytes; nil if it says
// none.
func SizeOf(c file.Capability) *int64 {
	switch c := c.(type) {
	case file.CHK:
		return &c.Size
	case file.CHKVerifier:
		return &c.Size
	case file.LIT:
		size := int64(len(c.Data))
		return &size
	}
	return nil
}

// WriteNode writes the description of a file, or something of unknown kind.
func WriteNode(w io.Writer, kind string, n Node) error {
	out := json.NewEncoder(NewASCIIWriter(w))
	out.SetIndent("", " ")
	return out.Encode([]any{kind, n})
}

// WriteDirectory writes the description of a directory with its children, one
// after the other.
func WriteDirectory(w io.Writer, l tarn.Found, d *directory.Directory) error {
	out := NewASCIIWriter(w)
	_, own := Describe(l)
	own.Format = FormatOf(l.Capability())
	text, err := json.Marshal(own)
	if err != nil {
		return err
	}
	self, _ := l.Directory()
	if _, err := fmt.Fprintf(out, "[\"%s\", {\n \"children\": {", Directory); err != nil {
		return err
	}
	first := true
	for _, name := range d.Names() {
		e, _ := d.Entry(name)
		if e.Err != nil {
			continue
		}
		if err := writeChild(out, tarn.Found{Entry: e, Parent: self}, first); err != nil {
			return err
		}
		first = false
	}
	_, err = fmt.Fprintf(out, "\n },\n %s]\n", bytes.TrimPrefix(text, []byte("{")))
	return err
}

func writeChild(w io.Writer, l tarn.Found, first bool) error {
	kind, n := Describe(l)
	name, err := json.Marshal(l.Name)
	if err != nil {
		return err
	}
	node, err := json.Marshal(n)
	if err != nil {
		return err
	}
	comma := ","
	if first {
		comma = ""
	}
	_, err = fmt.Fprintf(w, "%s\n  %s: [\"%s\", %s]", comma, name, kind, node)
	return err
}

// NewASCIIWriter escapes all in JSON that is not ASCII.
func NewASCIIWriter(w io.Writer) io.Writer { return &asciiWriter{w: w} }

// asciiWriter writes JSON with all that is not ASCII escaped, as Tahoe does and
// its command line wants. What is not ASCII stands in strings only.
type asciiWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character
	out  []byte
}

func (a *asciiWriter) Write(p []byte) (int, error) {
	text := p
	if len(a.rest) > 0 {
		text = append(a.rest, p...)
	}
	a.out = a.out[:0]
	for len(text) > 0 {
		plain := slices.IndexFunc(text, func(b byte) bool { return b >= 0x7f })
		if plain < 0 {
			plain = len(text)
		}
		a.out, text = append(a.out, text[:plain]...), text[plain:]
		if !utf8.FullRune(text) {
			break
		}
		r, size := utf8.DecodeRune(text)
		a.out, text = appendEscaped(a.out, r), text[size:]
	}
	a.rest = append([]byte(nil), text...)
	if _, err := a.w.Write(a.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func appendEscaped(out []byte, r rune) []byte {
	if r >= 0x10000 {
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}
