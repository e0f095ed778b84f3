package tarn

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// announcementCache keeps what one introducer announced in a YAML file with one
// clause for each server (transport/clause). It implements
// client.AnnouncementCache.
type announcementCache struct {
	path string
	own  transport.Connections // the node's settings, written into each clause

	mu sync.Mutex
	// formatted are the clauses as they were saved last, by what was signed: when a
	// node starts each server is news, and all others stay as they were.
	formatted map[string]formattedClause
}

type formattedClause struct {
	client.Cached
	text []byte
}

// maxCache bounds a cache file, in bytes.
const maxCache = 64 << 20

const cacheHead = `# What this introducer announced, for starting without it. Written by the node:
# changes are lost. To change how a server is reached, copy its clause to
# servers.yaml and change it there.
`

// Load implements client.AnnouncementCache. Every signature is verified.
func (c *announcementCache) Load() ([]client.Cached, error) {
	b, err := readBounded(c.path, maxCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cache of announcements: %w", err)
	}
	clauses, mistakes := clause.Parse(b)
	var list []client.Cached
	for _, one := range clauses {
		if one.Announcement != nil {
			list = append(list, client.Cached{Signed: one.Signed, Heard: one.Heard, Used: one.Used})
		}
	}
	var bad error
	for _, m := range mistakes {
		bad = errors.Join(bad, fmt.Errorf("%s: %w", c.path, m))
	}
	return list, bad
}

// Save implements client.AnnouncementCache.
func (c *announcementCache) Save(list []client.Cached) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	file, formatted := []byte(cacheHead), make(map[string]formattedClause, len(list))
	for _, one := range list {
		f, ok := c.formatted[string(one.Signed)]
		if !ok || !f.Heard.Equal(one.Heard) || !f.Used.Equal(one.Used) {
			text, err := c.format(one)
			if err != nil {
				return fmt.Errorf("write the cache of announcements: %w", err)
			}
			f = formattedClause{one, text}
		}
		formatted[string(one.Signed)] = f
		file = append(file, f.text...)
	}
	c.formatted = formatted
	return writeFile(c.path, file)
}

func (c *announcementCache) format(one client.Cached) ([]byte, error) {
	a, err := wire.OpenAnnouncement(one.Signed)
	if err != nil {
		return nil, err
	}
	return clause.Format(clause.Clause{Server: a.Server, Signed: one.Signed, Announcement: &a, Heard: one.Heard, Used: one.Used}, c.own)
}

// overrideFile is the one that the node's owner writes. It implements
// client.OverrideFile.
type overrideFile struct{ path string }

// Load implements client.OverrideFile.
func (f overrideFile) Load() ([]byte, error) {
	b, err := readBounded(f.path, 2*clause.MaxOverrides) // clause tells what is too large
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that make sense", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

// published implements introducer.Store with a file of one base64 line for
// each announcement.
type published struct{ path string }

// Load implements introducer.Store.
func (p published) Load() ([][]byte, error) {
	text, err := readBounded(p.path, maxCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for line := range strings.Lines(string(text)) {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("%s is damaged (delete it: servers publish again by themselves): %w", p.path, err)
		}
		list = append(list, b)
	}
	return list, nil
}

// Save implements introducer.Store.
func (p published) Save(list [][]byte) error {
	var b strings.Builder
	for _, a := range list {
		b.WriteString(base64.StdEncoding.EncodeToString(a) + "\n")
	}
	return writeFile(p.path, []byte(b.String()))
}
