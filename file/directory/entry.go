package directory

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/tagged"
)

// Entry is a child of a directory. One that is there with no capability at all,
// by its name and metadata alone, has file.Unknown{} for reading: programs mark
// with it what was deleted.
type Entry struct {
	Name     string          // in the normal form NFC
	Write    file.Capability // that can change the child; nil if there is none, or it is not for the reader
	Read     file.Capability // that cannot; nil if there is none, as of unknown kinds
	Metadata Metadata
	// Err is an ErrEntry that says why the child cannot be used, and both
	// capabilities are nil then. The entry stays in the directory as it is.
	Err error

	raw []byte // as it is written, without the outer length
}

// Capability is the one that can do more; nil if there is none.
func (e Entry) Capability() file.Capability {
	if e.Write != nil {
		return e.Write
	}
	return e.Read
}

// Prefixes that say what a capability of an unknown kind does not allow.
const (
	readOnly  = "ro."
	immutable = "imm."
)

// parseEntry reads four netstrings: name, read capability, encrypted write
// capability, metadata. An error means that the directory is damaged.
func (d *Directory) parseEntry(raw []byte) (Entry, error) {
	var parts [4][]byte
	rest := raw
	var err error
	for i := range parts {
		if parts[i], rest, err = tagged.CutNetstring(rest); err != nil {
			return Entry{}, fmt.Errorf("%w: part %d of entry %d: %w", ErrDirectory, i, len(d.entries), err)
		}
	}
	if !utf8.Valid(parts[0]) {
		return Entry{}, fmt.Errorf("%w: the name of entry %d is not UTF-8", ErrDirectory, len(d.entries))
	}
	if len(rest) > 0 {
		return Entry{}, fmt.Errorf("%w: %d bytes too many in entry %d", ErrDirectory, len(rest), len(d.entries))
	}
	if !d.mutable() && len(parts[2]) > 0 {
		return Entry{}, fmt.Errorf("%w: a write capability in an immutable directory", ErrDirectory)
	}
	e := Entry{Name: NormalName(string(parts[0])), Metadata: Metadata(parts[3]), raw: raw}
	if e.Err = e.Metadata.Validate(); e.Err != nil {
		return e, nil
	}
	var write []byte
	if d.seal != nil {
		if write, err = d.seal.open(parts[2]); err != nil {
			e.Err = err
			return e, nil
		}
	}
	e.Write, e.Read, e.Err = d.child(trim(write), trim(parts[1]))
	return e, nil
}

// trim drops the spaces that may pad a capability, so that its length tells
// nothing.
func trim(b []byte) string { return string(bytes.TrimRight(b, " ")) }

// child makes capabilities of both texts, either of which may be empty. The
// read capability of a known kind is derived and not believed.
func (d *Directory) child(write, read string) (w, r file.Capability, err error) {
	if write != "" {
		if w, err = parse(write); err != nil {
			return nil, nil, err
		}
	}
	if read != "" && (w == nil || isUnknown(w)) {
		if r, err = parse(read); err != nil {
			return nil, nil, err
		}
	}
	if w == nil && r == nil {
		return nil, file.Unknown{}, nil
	}
	e := Entry{Write: w, Read: r}
	if err := d.checkChild(&e); err != nil {
		return nil, nil, err
	}
	return e.Write, e.Read, nil
}

func parse(text string) (file.Capability, error) {
	c, err := file.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return c, nil
}

func isUnknown(c file.Capability) bool {
	_, ok := c.(file.Unknown)
	return ok
}

// checkChild brings the capabilities of an entry into the form that they have
// in this directory: Write can write, Read cannot, and cannot change either if
// the directory is immutable.
func (d *Directory) checkChild(e *Entry) error {
	if e.Write != nil && !e.Write.Writable() {
		if e.Read == nil || !isUnknown(e.Write) {
			e.Read = e.Write
		}
		e.Write = nil
	}
	if e.Write != nil && !isUnknown(e.Write) {
		lesser, err := file.ReadOnly(e.Write)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrEntry, err)
		}
		e.Read = lesser
	}
	if e.Read == nil && e.Write == nil {
		return nil
	}
	return d.constrain(e)
}

func (d *Directory) constrain(e *Entry) error {
	if e.Write != nil && !d.mutable() {
		return fmt.Errorf("%w: a child that can be changed, of the kind %s, in an immutable directory", ErrEntry, e.Write.Kind())
	}
	if e.Read == nil {
		return fmt.Errorf("%w: of the unknown kind %s, with no capability that can only read", ErrEntry, e.Write.Kind())
	}
	if e.Write != nil && isUnknown(e.Write) && e.Read.Immutable() {
		return fmt.Errorf("%w: of the unknown kind %s, both to be changed and immutable", ErrEntry, e.Write.Kind())
	}
	if u, ok := e.Read.(file.Unknown); ok {
		e.Read = d.claim(u)
		return nil
	}
	if !d.mutable() && !e.Read.Immutable() {
		return fmt.Errorf("%w: a child that can change, of the kind %s, in an immutable directory", ErrEntry, e.Read.Kind())
	}
	lesser, err := file.ReadOnly(e.Read)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEntry, err)
	}
	e.Read = lesser
	return nil
}

// claim marks a capability of an unknown kind with what its place in the
// directory says of it.
func (d *Directory) claim(u file.Unknown) file.Unknown {
	if u.Text == "" || strings.HasPrefix(u.Text, immutable) {
		return u
	}
	bare := strings.TrimPrefix(u.Text, readOnly)
	if d.mutable() {
		return file.Unknown{Text: readOnly + bare}
	}
	return file.Unknown{Text: immutable + bare}
}

// encodeEntry writes the four parts. The prefix that the place implies is left
// out.
func (d *Directory) encodeEntry(e Entry) []byte {
	read, write := "", ""
	if e.Read != nil {
		read = strings.TrimPrefix(e.Read.String(), readOnly)
		if !d.mutable() {
			read = strings.TrimPrefix(read, immutable)
		}
	}
	if e.Write != nil {
		write = e.Write.String()
	}
	raw := tagged.AppendNetstring(nil, []byte(e.Name))
	raw = tagged.AppendNetstring(raw, []byte(read))
	var sealed []byte
	if d.seal != nil {
		sealed = d.seal.close([]byte(write))
	}
	raw = tagged.AppendNetstring(raw, sealed)
	return tagged.AppendNetstring(raw, []byte(e.Metadata))
}
