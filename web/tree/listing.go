package tree

import (
	"context"
	"io/fs"
	"slices"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// life is how long what is known of a directory or a mutable file counts, keep how
// many of each are kept.
const (
	life = time.Second
	keep = 256
)

// listing is what a directory held a moment ago. It is never changed.
type listing struct {
	names   []string
	entries map[string]tarn.Entry
	until   time.Time
}

// listingOf has the entries that can be named in a path.
func listingOf(entries []tarn.Entry) *listing {
	l := &listing{entries: make(map[string]tarn.Entry, len(entries)), until: time.Now().Add(life)}
	for _, e := range entries {
		if nameable(e.Name) {
			l.names = append(l.names, e.Name)
			l.entries[e.Name] = e
		}
	}
	return l
}

// shelf is what is known of one directory, and what is about to change in it. It
// belongs to the mutex of Trees.
type shelf struct {
	// seen is by whether the reader can write: he sees more.
	seen map[bool]*listing
	// changed is a number that no other change of any directory has.
	changed int
	// loading is held by who reads the directory.
	loading chan struct{}
	waiting []*change
	editing bool
}

func (s *shelf) idle(now time.Time) bool {
	for _, l := range s.seen {
		if now.Before(l.until) {
			return false
		}
	}
	return !s.editing && len(s.loading) == 0
}

// shelf needs the mutex.
func (t *Trees) shelf(c file.Directory) *shelf {
	key := identity(c)
	s := t.shelves[key]
	if s == nil {
		now := time.Now()
		makeRoom(t.shelves, func(s *shelf) bool { return s.idle(now) })
		s = &shelf{seen: map[bool]*listing{}, changed: t.changes, loading: make(chan struct{}, 1)}
		t.shelves[key] = s
	}
	return s
}

// makeRoom forgets what is old where there is much.
func makeRoom[V any](m map[string]V, old func(V) bool) {
	if len(m) < keep {
		return
	}
	for key, v := range m {
		if old(v) {
			delete(m, key)
		}
	}
}

// list is what a directory holds, or held a moment ago.
func (t *Trees) list(ctx context.Context, c file.Directory) (*listing, error) {
	if l := t.remembered(c); l != nil {
		return l, nil
	}
	t.mu.Lock()
	s := t.shelf(c)
	t.mu.Unlock()
	select {
	case s.loading <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.loading }()
	if l := t.remembered(c); l != nil {
		return l, nil
	}
	return t.fresh(ctx, c)
}

func (t *Trees) remembered(c file.Directory) *listing {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.shelves[identity(c)]
	if s == nil {
		return nil
	}
	if l := s.seen[c.Writable()]; l != nil && time.Now().Before(l.until) {
		return l
	}
	return nil
}

// fresh is what a directory holds now.
func (t *Trees) fresh(ctx context.Context, c file.Directory) (*listing, error) {
	t.mu.Lock()
	before := t.shelf(c).changed
	t.mu.Unlock()
	read, err := t.node.List(ctx, c.String())
	if err != nil {
		return nil, err
	}
	l := listingOf(read.Entries)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.shelf(c); s.changed == before {
		s.seen[c.Writable()] = l
	}
	return l, nil
}

// change is one of those that wait for a directory.
type change struct {
	do   func(*directory.Directory) error
	err  error
	done chan struct{}
}

// edit changes a directory. Changes that come while another one is written are
// written together after it. What do says is what is to be: it may be called again.
// When the context ends first, the change may be made or not.
func (t *Trees) edit(ctx context.Context, c file.Directory, do func(*directory.Directory) error) error {
	if !c.Writable() {
		return tarn.ErrReadOnly
	}
	one := &change{do: do, done: make(chan struct{})}
	t.mu.Lock()
	s := t.shelf(c)
	s.waiting = append(s.waiting, one)
	if !s.editing {
		s.editing = true
		go t.editAll(context.WithoutCancel(ctx), c, s)
	}
	t.mu.Unlock()
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// editAll makes changes until none waits.
func (t *Trees) editAll(ctx context.Context, c file.Directory, s *shelf) {
	for {
		t.mu.Lock()
		changes := s.waiting
		s.waiting = nil
		s.editing = len(changes) > 0
		t.mu.Unlock()
		if len(changes) == 0 {
			return
		}
		t.editOnce(ctx, c, s, changes)
	}
}

func (t *Trees) editOnce(ctx context.Context, c file.Directory, s *shelf, changes []*change) {
	var made *directory.Directory
	_, err := t.node.EditDirectory(ctx, c.String(), func(d *directory.Directory) error {
		for _, one := range changes {
			one.err = one.do(d)
		}
		made = d
		return nil
	})
	t.mu.Lock()
	t.changes++
	s.changed = t.changes
	clear(s.seen)
	if err == nil {
		s.seen[true] = listingOf(entriesOf(made))
	}
	t.mu.Unlock()
	for _, one := range changes {
		if err != nil {
			one.err = err
		}
		close(one.done)
	}
}

func entriesOf(d *directory.Directory) []tarn.Entry {
	names := slices.Clone(d.Names())
	list := make([]tarn.Entry, 0, len(names))
	for _, name := range names {
		e, _ := d.Entry(name)
		list = append(list, e)
	}
	return list
}

// link is an entry that is to be in a directory: a new one, or one that was
// somewhere else.
type link struct {
	name     string
	to       file.Capability
	moved    *tarn.Entry
	modified time.Time // of the content; zero where nobody said when
	replace  tarn.Replace
}

func (l link) capability() file.Capability {
	if l.moved != nil {
		return l.moved.Capability()
	}
	return l.to
}

// isSet says that it was set before.
func (l link) isSet(d *directory.Directory) bool {
	old, ok := d.Entry(l.name)
	return ok && old.Capability() != nil && old.Capability().String() == l.capability().String()
}

// set puts it there. A file that is stored takes no directory's place, nor that of
// what is not known.
func (l link) set(d *directory.Directory) error {
	old, there := d.Entry(l.name)
	if there && !l.isSet(d) {
		_, isDir := old.Capability().(file.Directory)
		switch {
		case l.replace == tarn.ReplaceNone, l.replace == tarn.ReplaceFiles && isDir && l.moved != nil:
			return tarn.ErrEntryExists
		case l.replace == tarn.ReplaceFiles && isDir:
			return ErrDirectory
		case l.replace == tarn.ReplaceFiles && (old.Err != nil || !file.Readable(old.Capability())):
			return ErrUnknown
		}
	}
	e := tarn.Entry{Name: l.name, Write: l.to}
	var err error
	if l.moved != nil {
		e = *l.moved
		e.Name = l.name
		e.Metadata, err = e.Metadata.Changed("", time.Now())
	} else {
		e.Metadata, err = withModified(old.Metadata, l.modified, time.Now())
	}
	if err != nil {
		return err
	}
	return d.Set(e)
}

// unlink is an entry that is to be there no more.
type unlink struct{ was tarn.Entry }

// remove leaves alone what another one has put in its place meanwhile.
func (u unlink) remove(d *directory.Directory) error {
	e, ok := d.Entry(u.was.Name)
	if !ok {
		return nil
	}
	if a, b := e.Capability(), u.was.Capability(); a != nil && b != nil && a.String() != b.String() {
		return tarn.ErrConflict
	}
	_, err := d.Remove(u.was.Name)
	return err
}

// touch is an entry whose content changed at a time.
type touch struct {
	name string
	at   time.Time
}

func (t touch) set(d *directory.Directory) error {
	e, ok := d.Entry(t.name)
	if !ok {
		return fs.ErrNotExist
	}
	if e.Err != nil {
		return e.Err
	}
	if e.Metadata.ModTime().Equal(t.at) {
		return nil
	}
	var err error
	if e.Metadata, err = withModified(e.Metadata, t.at, time.Now()); err != nil {
		return err
	}
	return d.Set(e)
}
