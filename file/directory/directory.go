// Package directory is what a directory holds, in the format of Tahoe-LAFS
// 1.20: names, and for each the capability of a child and metadata. The text
// of a directory is the content of a file, mutable or immutable, whose
// capability says what its reader may do.
//
// Main types: Directory is one that was read or is being made, Entry one of its
// children, Metadata what is said about it. Children of unknown kinds and all
// that was not changed are written back byte for byte. The write capabilities
// of children are encrypted with the write key of the directory: who can only
// read it gets only read capabilities, all the way down.
//
// The package is pure. Formats: allmydata/dirnode.py and unknown.py of
// Tahoe-LAFS.
package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/tagged"
)

// Errors that callers act on.
var (
	// ErrDirectory means that a text is not that of a directory.
	ErrDirectory = errors.New("damaged directory")
	// ErrReadOnly means that the capability does not allow a change.
	ErrReadOnly = errors.New("the directory can only be read")
	// ErrEntry means that an entry cannot be used or stored: its name, its
	// metadata or what its capabilities allow is wrong.
	ErrEntry = errors.New("bad directory entry")
)

// MaxSize is the longest text of a directory, in bytes.
const MaxSize = file.MaxSegmentSize

// Directory is the content of a directory. It belongs to one goroutine.
type Directory struct {
	capability file.Directory
	seal       *sealer // nil if children's write capabilities cannot be opened
	entries    map[string]Entry
}

// New returns an empty directory for a capability, which says what it is:
// mutable, or immutable if it is the zero Directory.
func New(c file.Directory) (*Directory, error) {
	d := &Directory{capability: c, entries: map[string]Entry{}}
	m, ok := c.File.(file.Mutable)
	if !ok {
		if _, verifier := c.File.(file.CHKVerifier); verifier {
			return nil, fmt.Errorf("%w: a capability of the kind %s cannot read it", ErrReadOnly, c.Kind())
		}
		return d, nil
	}
	if _, ok := m.ReadKey(); !ok {
		return nil, fmt.Errorf("%w: a capability of the kind %s cannot read it", ErrReadOnly, c.Kind())
	}
	if key, ok := m.WriteKey(); ok {
		d.seal = &sealer{key}
	}
	return d, nil
}

// Parse reads the text of the directory that c names. What is wrong with a
// single entry is said in it; of entries with the same name the last counts.
func Parse(c file.Directory, text []byte) (*Directory, error) {
	d, err := New(c)
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes (want at most %d)", ErrDirectory, len(text), MaxSize)
	}
	for len(text) > 0 {
		var raw []byte
		if raw, text, err = tagged.CutNetstring(text); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrDirectory, len(d.entries), err)
		}
		e, err := d.parseEntry(raw)
		if err != nil {
			return nil, err
		}
		d.entries[e.Name] = e
	}
	return d, nil
}

func (d *Directory) mutable() bool {
	_, ok := d.capability.File.(file.Mutable)
	return ok
}

// Len is the number of entries.
func (d *Directory) Len() int { return len(d.entries) }

// Size is how long the text is that Encode writes, in bytes.
func (d *Directory) Size() int64 {
	size := 0
	for _, e := range d.entries {
		size += tagged.NetstringLen(len(e.raw))
	}
	return int64(size)
}

// Names lists the names, sorted by their code points.
func (d *Directory) Names() []string { return slices.Sorted(maps.Keys(d.entries)) }

// NormalName is the form in which a directory keeps a name.
func NormalName(name string) string { return norm.NFC.String(name) }

// Entry is the one with the given name, in any normalisation.
func (d *Directory) Entry(name string) (Entry, bool) {
	e, ok := d.entries[NormalName(name)]
	return e, ok
}

// Set adds an entry, or puts it in the place of the one with its name. An entry
// whose metadata say no-write keeps no write capability.
func (d *Directory) Set(e Entry) error {
	if d.mutable() && d.seal == nil {
		return ErrReadOnly
	}
	if !utf8.ValidString(e.Name) {
		return fmt.Errorf("%w: its name %q is not UTF-8", ErrEntry, e.Name)
	}
	e.Name = NormalName(e.Name)
	if e.Metadata == "" {
		e.Metadata = "{}"
	}
	if err := e.Metadata.Validate(); err != nil {
		return err
	}
	if err := d.checkChild(&e); err != nil {
		return err
	}
	if e.Metadata.NoWrite() {
		e.Write = nil
	}
	if e.Capability() == nil {
		return fmt.Errorf("%w: %q without a capability", ErrEntry, e.Name)
	}
	e.raw = d.encodeEntry(e)
	d.entries[e.Name] = e
	return nil
}

// Remove takes an entry out and tells whether it was there.
func (d *Directory) Remove(name string) (bool, error) {
	if d.mutable() && d.seal == nil {
		return false, ErrReadOnly
	}
	name = NormalName(name)
	_, ok := d.entries[name]
	delete(d.entries, name)
	return ok, nil
}

// Encode writes the text: each entry, sorted by name, as a netstring; nothing
// for an empty directory. Entries that were not set anew are as they were read.
func (d *Directory) Encode() ([]byte, error) {
	size := d.Size()
	if size > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes (want at most %d)", ErrDirectory, size, MaxSize)
	}
	text := make([]byte, 0, size)
	for _, name := range d.Names() {
		text = tagged.AppendNetstring(text, d.entries[name].raw)
	}
	return text, nil
}
