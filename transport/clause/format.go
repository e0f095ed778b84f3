package clause

import (
	"encoding/base64"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// written is a clause as it stands in a file.
type written struct {
	Local        writtenLocal        `yaml:"local"`
	Announcement writtenAnnouncement `yaml:"announcement"`
}

type writtenLocal struct {
	Connections map[string]string `yaml:"connections,flow"`
	Heard       string            `yaml:"heard"`
	Used        string            `yaml:"used,omitempty"`
}

// writtenAnnouncement repeats the signed announcement for people to read; only
// Signed counts.
type writtenAnnouncement struct {
	Nickname  string   `yaml:"nickname,omitempty"`
	Addresses []string `yaml:"addresses,omitempty"`
	Sequence  uint64   `yaml:"sequence"`
	Signed    string   `yaml:"signed"`
}

// Format writes the clause of an announcement, with the node's own settings in it.
// A file of such clauses, each server's once, is what Parse reads.
func Format(c Clause, own transport.Connections) ([]byte, error) {
	local := writtenLocal{Connections: waysOf(own), Heard: c.Heard.UTC().Format(time.RFC3339)}
	if !c.Used.IsZero() {
		local.Used = c.Used.UTC().Format(time.RFC3339)
	}
	return yaml.Dump(map[string]written{c.Server.String(): {
		Local: local,
		Announcement: writtenAnnouncement{
			Nickname: shown(c.Announcement.Nickname), Addresses: fit(c.Announcement.Hints), Sequence: c.Announcement.Sequence,
			Signed: base64.StdEncoding.EncodeToString(c.Signed),
		},
	}})
}

func waysOf(c transport.Connections) map[string]string {
	ways := map[string]string{}
	for _, kind := range transport.Kinds() {
		ways[string(kind)] = string(c.Of(kind))
	}
	return ways
}

// fit are the addresses that Parse takes: a server may announce what it likes.
func fit(hints []grid.Hint) []string {
	var out []string
	for _, h := range hints {
		if transport.KindOf(h) != "" {
			out = append(out, string(h))
		}
	}
	return out
}

// shown is a name if Parse takes it, else none.
func shown(name string) string {
	if !showable(name) {
		return ""
	}
	return name
}
