package directory

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metadata is what a directory says of a child: a JSON object, such as
// {"tahoe": {"linkcrtime": 1700000000.5, "linkmotime": 1700000000.5}}. What is
// below "tahoe" belongs to the program, the rest to users. All that a change
// does not concern stays byte for byte.
type Metadata string

// MaxMetadata is the longest metadata of an entry, in bytes.
const MaxMetadata = 1 << 20

// field is a member of an object, as it is written; the key has its quotes.
type field struct{ key, value string }

// Validate returns an ErrEntry unless it is a JSON object within bounds.
func (m Metadata) Validate() error {
	if len(m) > MaxMetadata {
		return fmt.Errorf("%w: metadata of %d bytes (want at most %d)", ErrEntry, len(m), MaxMetadata)
	}
	if !json.Valid([]byte(m)) {
		return fmt.Errorf("%w: its metadata are not JSON", ErrEntry)
	}
	if !strings.HasPrefix(strings.TrimLeft(string(m), " \t\r\n"), "{") {
		return fmt.Errorf("%w: its metadata are not a JSON object", ErrEntry)
	}
	return nil
}

// fields cuts the object into its members, in their order.
func (m Metadata) fields() ([]field, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(m)))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: its metadata: %w", ErrEntry, err)
	}
	var all []field
	for dec.More() {
		before := dec.InputOffset()
		if _, err := dec.Token(); err != nil {
			return nil, fmt.Errorf("%w: its metadata: %w", ErrEntry, err)
		}
		key := string(m[before:dec.InputOffset()])
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: its metadata: %w", ErrEntry, err)
		}
		all = append(all, field{key[strings.IndexByte(key, '"'):], string(value)})
	}
	return all, nil
}

// find is the place of the last member with a name, which counts; -1 if there
// is none.
func find(all []field, name string) int {
	for i, f := range slices.Backward(all) {
		var key string
		if json.Unmarshal([]byte(f.key), &key) == nil && key == name {
			return i
		}
	}
	return -1
}

func get(all []field, name string) string {
	if i := find(all, name); i >= 0 {
		return all[i].value
	}
	return ""
}

func set(all []field, name, value string) []field {
	if i := find(all, name); i >= 0 {
		all[i].value = value
		return all
	}
	return append(all, field{strconv.Quote(name), value})
}

func without(all []field, name string) []field {
	for i := find(all, name); i >= 0; i = find(all, name) {
		all = slices.Delete(all, i, i+1)
	}
	return all
}

// object writes members as Python does.
func object(all []field) string {
	parts := make([]string, len(all))
	for i, f := range all {
		parts[i] = f.key + ": " + f.value
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// NoWrite tells whether the child is only to be read through this link. Any
// value counts that is true in Python.
func (m Metadata) NoWrite() bool {
	all, err := m.fields()
	if err != nil {
		return false
	}
	switch v := get(all, "no-write"); v {
	case "", "false", "null", "0", "0.0", `""`, "[]", "{}":
		return false
	default:
		return true
	}
}

// Linked is when the child got its name, and when the link last changed; false
// if the metadata don't say so.
func (m Metadata) Linked() (created, changed time.Time, ok bool) {
	all, err := m.fields()
	if err != nil {
		return created, changed, false
	}
	links, err := Metadata(get(all, "tahoe")).fields()
	if err != nil {
		return created, changed, false
	}
	created, okCreated := fromSeconds(get(links, "linkcrtime"))
	changed, okChanged := fromSeconds(get(links, "linkmotime"))
	return created, changed, okCreated && okChanged
}

// Modified is when the content of the child last changed where it came from, as
// a backup says (mtime); false if the metadata don't say so.
func (m Metadata) Modified() (time.Time, bool) {
	all, err := m.fields()
	if err != nil {
		return time.Time{}, false
	}
	return fromSeconds(get(all, "mtime"))
}

// ModTime is when the content of the child changed, as file systems show it: what
// Modified says, or else when the link last changed; 1970 if neither is told.
func (m Metadata) ModTime() time.Time {
	if t, ok := m.Modified(); ok {
		return t
	}
	if _, changed, ok := m.Linked(); ok {
		return changed
	}
	return time.Unix(0, 0)
}

// fromSeconds reads a time between the years 1 and 9999.
func fromSeconds(text string) (time.Time, bool) {
	s, err := strconv.ParseFloat(text, 64)
	t := time.UnixMicro(int64(math.Round(s * 1e6)))
	return t, err == nil && math.Abs(s) < 1e11 && t.Year() >= 1 && t.Year() <= 9999
}

// seconds are written as Python writes a float.
func seconds(t time.Time) string {
	text := strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// Changed are the metadata of a link that is set now, as update_metadata of
// allmydata/dirnode.py makes them: those of the user, if he gives any, take the
// place of the old ones (which are "" for a new link), but what is below
// "tahoe" stays and gets the time of the change.
func (m Metadata) Changed(user Metadata, now time.Time) (Metadata, error) {
	if m == "" {
		m = "{}"
	}
	old, err := m.fields()
	if err != nil {
		return "", err
	}
	system, all := get(old, "tahoe"), old
	if user != "" {
		if all, err = user.fields(); err != nil {
			return "", err
		}
		all = without(all, "tahoe")
	}
	links, err := Metadata(system).fields()
	if err != nil {
		links = nil // not an object: old versions wrote none
	}
	if find(links, "linkcrtime") < 0 {
		created := get(old, "ctime") // its name before Tahoe 1.4
		if created == "" {
			created = seconds(now)
		}
		links = set(links, "linkcrtime", created)
	}
	links = set(links, "linkmotime", seconds(now))
	return Metadata(object(set(all, "tahoe", object(links)))), nil
}
