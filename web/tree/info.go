package tree

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"sync"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
)

// Info says what is at a path. It is a fs.FileInfo.
type Info struct {
	name     string
	size     int64
	mode     fs.FileMode
	modified time.Time
	tag      string
}

var _ fs.FileInfo = Info{}

// Name implements fs.FileInfo.
func (i Info) Name() string { return i.name }

// Size implements fs.FileInfo.
func (i Info) Size() int64 { return i.size }

// Mode implements fs.FileInfo: what its owner may do, who is whoever has the
// capability.
func (i Info) Mode() fs.FileMode { return i.mode }

// ModTime implements fs.FileInfo.
func (i Info) ModTime() time.Time { return i.modified }

// IsDir implements fs.FileInfo.
func (i Info) IsDir() bool { return i.mode.IsDir() }

// Sys implements fs.FileInfo: nothing.
func (Info) Sys() any { return nil }

// Tag differs where the content of a file differs; empty for what has none. It
// gives no capability away.
func (i Info) Tag() string { return i.tag }

func rootInfo(c file.Directory) Info {
	return Info{name: "/", mode: directoryMode(c), modified: time.Unix(0, 0)}
}

func directoryMode(c file.Directory) fs.FileMode {
	if c.Writable() {
		return fs.ModeDir | 0o700
	}
	return fs.ModeDir | 0o500
}

// info is what an entry tells of its child, and for a mutable file what the file
// itself does.
func (t *Trees) info(ctx context.Context, e tarn.Entry) Info {
	i := Info{name: e.Name, modified: e.Metadata.ModTime()}
	if d, ok := asDirectory(e); ok {
		i.mode = directoryMode(d)
		return i
	}
	if e.Err != nil || !file.Readable(e.Capability()) {
		return i // nobody may do anything
	}
	i.mode = 0o600
	switch c := e.Capability().(type) {
	case file.LIT:
		i.size, i.tag = int64(len(c.Data)), tagOf(c, "")
	case file.CHK:
		i.size, i.tag = c.Size, tagOf(c, "")
	case file.Mutable:
		if !c.Writable() {
			i.mode = 0o400
		}
		if s, err := t.state(ctx, c); err == nil {
			i.size, i.tag = s.size, tagOf(c.ReadOnly(), s.version)
		}
	}
	return i
}

// tagOf names a content. The hash does not lead back to a capability.
func tagOf(c file.Capability, version string) string {
	sum := sha256.Sum256([]byte("tarn tree tag v1\x00" + c.String() + "\x00" + version))
	return grid.EncodeBase32(sum[:16])
}

// statesAtOnce is how many mutable files are asked for their size at the same time.
const statesAtOnce = 8

// infos are those of a whole directory.
func (t *Trees) infos(ctx context.Context, l *listing) []Info {
	list := make([]Info, len(l.names))
	var all sync.WaitGroup
	turns := make(chan struct{}, statesAtOnce)
	for i, name := range l.names {
		e := l.entries[name]
		if _, ok := e.Capability().(file.Mutable); !ok {
			list[i] = t.info(ctx, e)
			continue
		}
		turns <- struct{}{}
		all.Go(func() {
			list[i] = t.info(ctx, e)
			<-turns
		})
	}
	all.Wait()
	return list
}

// state is what a mutable file was a moment ago.
type state struct {
	size    int64
	version string
	until   time.Time
}

// state asks a mutable file what it is now.
func (t *Trees) state(ctx context.Context, c file.Mutable) (state, error) {
	key := c.ReadOnly().String()
	t.mu.Lock()
	s, ok := t.states[key]
	t.mu.Unlock()
	if ok && time.Now().Before(s.until) {
		return s, nil
	}
	f, err := t.node.Open(ctx, c.String())
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	return t.keepState(key, f.Size(), versionOf(f)), nil
}

func versionOf(f tarn.File) string {
	if m, ok := f.(tarn.MutableFile); ok {
		return m.Version().String()
	}
	return ""
}

func (t *Trees) keepState(key string, size int64, version string) state {
	s := state{size: size, version: version, until: time.Now().Add(life)}
	t.mu.Lock()
	defer t.mu.Unlock()
	makeRoom(t.states, func(s state) bool { return time.Now().After(s.until) })
	t.states[key] = s
	return s
}

// withModified are the metadata of a content that changed then; of now if that is
// the zero time, for which the link itself stands.
func withModified(old directory.Metadata, at, now time.Time) (directory.Metadata, error) {
	user := map[string]json.RawMessage{}
	if old != "" && json.Unmarshal([]byte(old), &user) != nil {
		user = map[string]json.RawMessage{} // they make no sense
		old = ""
	}
	delete(user, "tahoe")
	delete(user, "mtime")
	if !at.IsZero() {
		text, err := json.Marshal(float64(at.UnixMilli()) / 1000)
		if err != nil {
			return "", err
		}
		user["mtime"] = text
	}
	text, err := json.Marshal(user)
	if err != nil {
		return "", err
	}
	return old.Changed(directory.Metadata(text), now)
}
