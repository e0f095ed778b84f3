package tarn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/mutable"
)

// Errors about directories that callers act on.
var (
	// ErrInsideItself means that a directory was to be moved into itself, or into one
	// that is in it.
	ErrInsideItself = errors.New("a directory can't be moved into itself")
	// ErrNotDirectory means that a capability is not that of a directory.
	ErrNotDirectory = errors.New("not a directory")
	// ErrNoEntry means that a directory has no child of that name, ErrEntryExists
	// that it has one already.
	ErrNoEntry     = errors.New("no such entry in the directory")
	ErrEntryExists = errors.New("there is such an entry in the directory already")
	// ErrBadEntry means that an entry can't be used or stored.
	ErrBadEntry = directory.ErrEntry
	// ErrLoop means that a directory is inside of itself, and is not entered again.
	ErrLoop = errors.New("the directory is inside of itself")
)

// Entry is a child of a directory, with what the reader of that may do to it.
// Children of kinds that this version does not know are there, too.
type Entry = directory.Entry

// Listing is what a directory holds.
type Listing struct {
	// Cap is the directory's, as it was given; ReadCap can't write.
	Cap, ReadCap string
	// Mutable directories can change, Writable ones by who has Cap.
	Mutable, Writable bool
	// Version is which one this is, zero for an immutable directory.
	Version Version
	// Entries are sorted by name.
	Entries []Entry
}

// Entry finds a child, by its name in any normalisation.
func (l Listing) Entry(name string) (Entry, bool) {
	name = directory.NormalName(name)
	for _, e := range l.Entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// Link is a child that is to be in a directory.
type Link struct {
	Name string
	// Cap is the child's capability, the one that can do more if there are two;
	// ReadCap is wanted only beside one of an unknown kind that may write.
	Cap, ReadCap string
	// Metadata are the user's, a JSON object; those that are there stay if it is
	// empty.
	Metadata string
	// Replace says what becomes of a child with that name.
	Replace Replace
}

// Replace is what may be replaced in a directory.
type Replace uint8

// What may be replaced.
const (
	ReplaceAny   Replace = iota // whatever is there
	ReplaceNone                 // nothing: ErrEntryExists
	ReplaceFiles                // no directory: ErrEntryExists
)

// MakeDirectory makes a mutable directory with these children, whose text is at most
// MaxModify bytes long: that of 100,000 files is some 15 MB.
func (n *Node) MakeDirectory(ctx context.Context, o MutableOptions, children ...Link) (MutableResult, error) {
	if n.config.Client == nil {
		return MutableResult{}, ErrNoClient
	}
	text, key, err := n.newDirectory(ctx, o, children)
	if err != nil {
		return MutableResult{}, err
	}
	result, err := n.createMutable(ctx, bytes.NewReader(text), o, key)
	if err != nil {
		return result, err
	}
	return asDirectory(result)
}

// newDirectory is the text of a directory. Its children's capabilities are
// encrypted under its own, so that comes first.
func (n *Node) newDirectory(ctx context.Context, o MutableOptions, children []Link) ([]byte, *mutable.Key, error) {
	if len(children) == 0 {
		return nil, nil, nil
	}
	key, err := n.mutableKey(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	d, err := directory.New(key.Capability(o.Format.shares()).Directory())
	if err == nil {
		err = SetLinks(d, time.Now(), children)
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := d.Encode()
	return text, key, err
}

// mutableKey is the one that was given, or a new one.
func (n *Node) mutableKey(ctx context.Context, o MutableOptions) (*mutable.Key, error) {
	if len(o.PrivateKey) > 0 {
		return mutable.ParsePEM(o.PrivateKey)
	}
	made, err := env.Ask[client.KeyMade](ctx, n.system, n.root,
		func(replyTo *env.PID) any { return actors.ToClient{Message: client.AskKey{ReplyTo: replyTo}} }, nil)
	if err != nil {
		return nil, n.cause(err)
	}
	return made.Key, made.Err
}

// asDirectory has capabilities of a file name the directory in it.
func asDirectory(r MutableResult) (MutableResult, error) {
	for _, text := range []*string{&r.Cap, &r.ReadCap} {
		c, err := mutableCap(*text)
		if err != nil {
			return r, err
		}
		*text = c.Directory().String()
	}
	return r, nil
}

// StoreDirectory makes an immutable directory, all of whose children are
// immutable, too. Small ones lie in their capability. Their metadata are the user's
// alone, without the times of links: the same children are the same directory.
func (n *Node) StoreDirectory(ctx context.Context, o PutOptions, children ...Link) (PutResult, error) {
	d, err := directory.New(file.Directory{})
	if err == nil {
		err = setLinks(d, children, func(_ Entry, user directory.Metadata) (directory.Metadata, error) { return user, nil })
	}
	if err != nil {
		return PutResult{}, err
	}
	return n.PutDirectory(ctx, d, o)
}

// directoryCap reads a capability of a directory.
func directoryCap(text string) (file.Directory, error) {
	parsed, err := file.Parse(strings.TrimSpace(text))
	if err != nil {
		return file.Directory{}, fmt.Errorf("%w: %w", ErrCap, err)
	}
	d, ok := parsed.(file.Directory)
	if !ok {
		return file.Directory{}, fmt.Errorf("%w: %s is the kind of something else", ErrNotDirectory, parsed.Kind())
	}
	return d, nil
}

// List reads a directory. Errors: ErrCap, ErrNotDirectory, ErrNotEnoughShares,
// ErrDamaged.
func (n *Node) List(ctx context.Context, dir string, how ...Option) (Listing, error) {
	c, err := directoryCap(dir)
	if err != nil {
		return Listing{}, err
	}
	text, v, err := n.directoryText(ctx, c, how)
	if err != nil {
		return Listing{}, err
	}
	d, err := parseDirectory(c, text)
	if err != nil {
		return Listing{}, err
	}
	_, changes := c.File.(file.Mutable)
	l := Listing{Cap: c.String(), Mutable: changes, Writable: c.Writable(), Version: v, Entries: make([]Entry, 0, d.Len())}
	lesser, err := file.ReadOnly(c)
	if err != nil {
		return Listing{}, err
	}
	l.ReadCap = lesser.String()
	for _, name := range d.Names() {
		e, _ := d.Entry(name)
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

func parseDirectory(c file.Directory, text []byte) (*directory.Directory, error) {
	d, err := directory.Parse(c, text)
	if errors.Is(err, directory.ErrDirectory) {
		err = kind{ErrDamaged, err}
	}
	return d, err
}

// directoryText is the file that a directory lies in.
func (n *Node) directoryText(ctx context.Context, c file.Directory, how []Option) ([]byte, Version, error) {
	if _, ok := c.File.(file.Mutable); ok {
		return n.ReadMutable(ctx, c.File.String(), how...)
	}
	f, err := n.Open(ctx, c.File.String(), how...)
	if err != nil {
		return nil, Version{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if f.Size() > directory.MaxSize {
		return nil, Version{}, fmt.Errorf("%w: a directory of %d bytes, at most %d", ErrDamaged, f.Size(), int64(directory.MaxSize))
	}
	var text bytes.Buffer
	err = f.WriteRange(&text, 0, f.Size())
	return text.Bytes(), Version{}, err
}

// Lookup follows a path from a directory on, whose elements are separated by
// slashes; the empty one is the directory itself. Errors: those of List, ErrNoEntry,
// ErrBadEntry.
func (n *Node) Lookup(ctx context.Context, dir, path string, how ...Option) (Entry, error) {
	c, err := directoryCap(dir)
	if err != nil {
		return Entry{}, err
	}
	at := Entry{Read: c}
	if c.Writable() {
		if at.Read, err = file.ReadOnly(c); err != nil {
			return Entry{}, err
		}
		at.Write = c
	}
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		l, err := n.List(ctx, at.Capability().String(), how...)
		if err != nil {
			return Entry{}, err
		}
		e, ok := l.Entry(name)
		if !ok {
			return Entry{}, fmt.Errorf("%w: %q", ErrNoEntry, name)
		}
		if e.Err != nil {
			return Entry{}, e.Err
		}
		at = e
	}
	return at, nil
}

// EditDirectory changes a mutable directory. change may be called again, with what
// others have made of the directory meanwhile, and even if it is not known whether
// its first change counts: so it says what is to be, not what is to be different.
// Errors: those of List, ErrReadOnly, ErrConflict, and change's own.
func (n *Node) EditDirectory(ctx context.Context, dir string, change func(*directory.Directory) error, how ...Option) (MutableResult, error) {
	c, err := directoryCap(dir)
	if err != nil {
		return MutableResult{}, err
	}
	if !c.Writable() {
		return MutableResult{}, ErrReadOnly
	}
	edit := func(old []byte) ([]byte, error) {
		d, err := parseDirectory(c, old)
		if err != nil {
			return nil, err
		}
		if err := change(d); err != nil {
			return nil, err
		}
		text, err := d.Encode()
		if err == nil && bytes.Equal(text, old) {
			return nil, nil
		}
		return append([]byte{}, text...), err
	}
	for tries := 1; ; tries++ {
		result, err := n.Modify(ctx, c.File.String(), edit, how...)
		if !errors.Is(err, ErrConflict) || tries == editTries || optionsOf(how).onto != nil {
			return result, err
		}
		select {
		case <-ctx.Done():
			return MutableResult{}, context.Cause(ctx)
		case <-time.After(modifyPause + rand.N(modifyLongest)):
		}
	}
}

// editTries is how often an edit begins anew of which it is not known whether it
// counts.
const editTries = 5

// Link puts children into a directory, all of them in one write. Errors: those of
// EditDirectory, ErrEntryExists, ErrBadEntry, ErrCap.
func (n *Node) Link(ctx context.Context, dir string, children []Link, how ...Option) (MutableResult, error) {
	return n.EditDirectory(ctx, dir, func(d *directory.Directory) error { return SetLinks(d, time.Now(), children) }, how...)
}

// SetLinks puts children into a directory that is in memory; see Link.
func SetLinks(d *directory.Directory, now time.Time, children []Link) error {
	return setLinks(d, children, func(old Entry, user directory.Metadata) (directory.Metadata, error) {
		return old.Metadata.Changed(user, now)
	})
}

// setLinks has metadata say what becomes of those of a child that was there.
func setLinks(d *directory.Directory, children []Link, metadata func(old Entry, user directory.Metadata) (directory.Metadata, error)) error {
	for _, l := range children {
		e, err := l.entry()
		if err != nil {
			return err
		}
		old, there := d.Entry(l.Name)
		if there && !l.replaces(old, e) {
			return fmt.Errorf("%w: %q", ErrEntryExists, l.Name)
		}
		if e.Metadata, err = metadata(old, directory.Metadata(l.Metadata)); err != nil {
			return err
		}
		if err := d.Set(e); err != nil {
			return err
		}
	}
	return nil
}

// entry is the child with its capabilities.
func (l Link) entry() (Entry, error) {
	e := Entry{Name: l.Name}
	if err := checkName(l.Name); err != nil {
		return e, err
	}
	c, err := file.Parse(strings.TrimSpace(l.Cap))
	if err != nil {
		return e, fmt.Errorf("%w: %w", ErrCap, err)
	}
	e.Write = c
	if l.ReadCap != "" {
		if e.Read, err = file.Parse(strings.TrimSpace(l.ReadCap)); err != nil {
			return e, fmt.Errorf("%w: %w", ErrCap, err)
		}
	}
	return e, nil
}

func checkName(name string) error {
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%w: the name %q", ErrBadEntry, name)
	}
	return nil
}

// replaces reports whether a child may take the place of another one. What is the
// same already may: the link was made before.
func (l Link) replaces(old, e Entry) bool {
	switch l.Replace {
	case ReplaceNone:
		return old.Capability() != nil && e.Write != nil && old.Capability().String() == e.Write.String()
	case ReplaceFiles:
		_, dir := old.Capability().(file.Directory)
		return !dir
	}
	return true
}

// Unlink takes a child out of a directory, and returns what it was. Errors: those
// of EditDirectory, ErrNoEntry.
func (n *Node) Unlink(ctx context.Context, dir, name string, how ...Option) (Entry, error) {
	var was Entry
	found := false
	_, err := n.EditDirectory(ctx, dir, func(d *directory.Directory) error {
		e, ok := d.Entry(name)
		if !ok && !found {
			return fmt.Errorf("%w: %q", ErrNoEntry, name)
		}
		if ok {
			was, found = e, true
		}
		_, err := d.Remove(name)
		return err
	}, how...)
	return was, err
}

// Rename moves a child to another name or directory, with its metadata. Between two
// directories it is in both for a moment, and stays in both where the second write
// fails. Errors: those of Link and Unlink.
func (n *Node) Rename(ctx context.Context, fromDir, from, toDir, to string, replace Replace, how ...Option) error {
	a, err := directoryCap(fromDir)
	if err != nil {
		return err
	}
	b, err := directoryCap(toDir)
	if err != nil {
		return err
	}
	if a == b {
		return n.renameHere(ctx, fromDir, from, to, replace, how)
	}
	l, err := n.List(ctx, fromDir, how...)
	if err != nil {
		return err
	}
	e, ok := l.Entry(from)
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoEntry, from)
	}
	if e.Err != nil {
		return e.Err
	}
	if !l.Writable {
		return ErrReadOnly
	}
	_, err = n.EditDirectory(ctx, toDir, func(d *directory.Directory) error { return move(d, e, to, replace) }, how...)
	if err != nil {
		return err
	}
	_, err = n.Unlink(ctx, fromDir, from, how...)
	return err
}

func (n *Node) renameHere(ctx context.Context, dir, from, to string, replace Replace, how []Option) error {
	moved := false
	_, err := n.EditDirectory(ctx, dir, func(d *directory.Directory) error {
		e, ok := d.Entry(from)
		if !ok && moved {
			return nil // it was done before
		}
		if !ok {
			return fmt.Errorf("%w: %q", ErrNoEntry, from)
		}
		if e.Err != nil {
			return e.Err
		}
		if directory.NormalName(from) == directory.NormalName(to) {
			return nil
		}
		if err := move(d, e, to, replace); err != nil {
			return err
		}
		moved = true
		_, err := d.Remove(from)
		return err
	}, how...)
	return err
}

// move puts a child into a directory under a name.
func move(d *directory.Directory, e Entry, to string, replace Replace) error {
	if err := checkName(to); err != nil {
		return err
	}
	if old, there := d.Entry(to); there && !(Link{Replace: replace}).replaces(old, e) {
		return fmt.Errorf("%w: %q", ErrEntryExists, to)
	}
	moved := e
	moved.Name = to
	metadata, err := e.Metadata.Changed("", time.Now())
	if err != nil {
		return err
	}
	moved.Metadata = metadata
	return d.Set(moved)
}
