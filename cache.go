package tarn

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// announcementCache keeps what one introducer announced in a YAML file with
// one clause for each server, in two parts: local says how we connect to it,
// announcement is what the server says of itself, with its signature. It
// implements client.AnnouncementCache.
type announcementCache struct{ path string }

// maxCache bounds a cache file, in bytes.
const maxCache = 64 << 20

const cacheHead = "# What this introducer announced, for starting without it. Written by the node: changes are lost.\n"

type clause struct {
	Local        clauseLocal        `yaml:"local"`
	Announcement clauseAnnouncement `yaml:"announcement"`
}

type clauseLocal struct {
	// Connections says for each kind of hint how it is dialled.
	Connections map[string]string `yaml:"connections"`
}

// clauseAnnouncement repeats the signed announcement for people to read; only
// Signed counts.
type clauseAnnouncement struct {
	Nickname  string   `yaml:"nickname"`
	Addresses []string `yaml:"addresses"`
	Sequence  uint64   `yaml:"sequence"`
	Signed    string   `yaml:"signed"` // base64
}

// ownConnections are the node's connection settings, written into each
// clause.
var ownConnections = map[string]string{"tcp": "direct"}

// Load implements client.AnnouncementCache. Signatures are verified by the
// caller, as if the announcement had just come.
func (c announcementCache) Load() ([][]byte, error) {
	b, err := readBounded(c.path, maxCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cache of announcements: %w", err)
	}
	var clauses map[string]clause
	if err := yaml.Unmarshal(b, &clauses); err != nil {
		return nil, fmt.Errorf("read the cache of announcements %s: %w", c.path, err)
	}
	var list [][]byte
	var bad error
	for _, id := range sortedKeys(clauses) {
		signed, err := base64.StdEncoding.DecodeString(clauses[id].Announcement.Signed)
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("clause %s: the signed announcement is not base64", id))
			continue
		}
		list = append(list, signed)
	}
	return list, bad
}

// Save implements client.AnnouncementCache.
func (c announcementCache) Save(list [][]byte) error {
	clauses := map[string]clause{}
	for _, signed := range list {
		a, err := wire.OpenAnnouncement(signed)
		if err != nil {
			return fmt.Errorf("write the cache of announcements: %w", err)
		}
		clauses[a.Server.String()] = clause{
			Local: clauseLocal{Connections: ownConnections},
			Announcement: clauseAnnouncement{
				Nickname: a.Nickname, Addresses: hintTexts(a.Hints), Sequence: a.Sequence,
				Signed: base64.StdEncoding.EncodeToString(signed),
			},
		}
	}
	b, err := yaml.Marshal(clauses)
	if err != nil {
		return fmt.Errorf("write the cache of announcements: %w", err)
	}
	return writeFile(c.path, append([]byte(cacheHead), b...))
}

func hintTexts(hints []grid.Hint) []string {
	out := make([]string, len(hints))
	for i, h := range hints {
		out[i] = string(h)
	}
	return out
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
