package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// settingsVersion is the version of tarn.yaml that this program writes and
// the only one so far.
const settingsVersion = 1

// maxSettings is the largest tarn.yaml, bytes.
const maxSettings = 256 << 10

// settings are tarn.yaml. A section that is not there is a role that the node
// does not have.
type settings struct {
	Version     int                 `yaml:"version"`
	Nickname    string              `yaml:"nickname"`
	Introducers []string            `yaml:"introducers"`
	Anonymous   bool                `yaml:"anonymous"`
	Connections *connectionSettings `yaml:"connections"`
	Client      *clientSettings     `yaml:"client"`
	Web         *webSettings        `yaml:"web"`
	WebDAV      *webSettings        `yaml:"webdav"`
	SFTP        *sftpSettings       `yaml:"sftp"`
	Storage     *storageSettings    `yaml:"storage"`
	Introducer  *introducerSettings `yaml:"introducer"`
	Relay       *relaySettings      `yaml:"relay"`
	Manager     *managerSettings    `yaml:"manager"`
	Aggregator  *aggregatorSettings `yaml:"aggregator"`
	Helper      *helperSettings     `yaml:"helper"`
	Renewer     *renewerSettings    `yaml:"renewer"`
	Repairer    *repairerSettings   `yaml:"repairer"`
	Tor         *torSettings        `yaml:"tor"`
}

// connectionSettings say for each kind of address how it is dialled.
type connectionSettings struct {
	TCP   string `yaml:"tcp"`
	QUIC  string `yaml:"quic"`
	Onion string `yaml:"onion"`
	Relay string `yaml:"relay"`
	Punch bool   `yaml:"punch"`
}

type clientSettings struct {
	SharesNeeded int    `yaml:"shares-needed"`
	SharesHappy  int    `yaml:"shares-happy"`
	SharesTotal  int    `yaml:"shares-total"`
	SegmentSize  string `yaml:"segment-size"`
	Convergent   *bool  `yaml:"convergent"`

	Servers []string `yaml:"servers"`
	Helper  string   `yaml:"helper"`

	Subcontract bool `yaml:"subcontract"`
}

type webSettings struct {
	Listen string   `yaml:"listen"`
	Hosts  []string `yaml:"hosts"`
}

type storageSettings struct {
	Listen           []string `yaml:"listen"`
	Announce         []string `yaml:"announce"`
	Relays           []string `yaml:"relays"`
	ReservedSpace    string   `yaml:"reserved-space"`
	ReadsNeedAccount bool     `yaml:"reads-need-account"`
	PassOnBelow      string   `yaml:"pass-on-below"`
}

type introducerSettings struct {
	Listen   []string `yaml:"listen"`
	Announce []string `yaml:"announce"`
}

type managerSettings struct {
	Listen   []string `yaml:"listen"`
	Announce []string `yaml:"announce"`
}

type aggregatorSettings struct {
	Interval string `yaml:"interval"`
}

type helperSettings struct {
	Listen   []string `yaml:"listen"`
	Announce []string `yaml:"announce"`
	Space    string   `yaml:"space"`
}

type renewerSettings struct {
	Caps int `yaml:"caps"`
}

type repairerSettings struct {
	Files       int    `yaml:"files"`
	Every       string `yaml:"every"`
	VerifyEvery string `yaml:"verify-every"`
}

type torSettings struct {
	SOCKS   string `yaml:"socks"`
	Control string `yaml:"control"`
}

// parseSettings reads tarn.yaml. An unknown setting, one that stands there
// twice and a value of the wrong kind are errors with their lines. The
// warnings name settings that are read under an old name.
func parseSettings(content []byte) (s settings, warnings []string, err error) {
	if len(content) > maxSettings {
		return s, nil, fmt.Errorf("%w: more than %s", errSettings, exactSize(maxSettings))
	}
	var document yaml.Node
	if err := yaml.Load(content, &document); err != nil {
		return s, nil, fmt.Errorf("%w: %s", errSettings, explainYAML(err))
	}
	if warnings, err = rename(&document); err != nil {
		return s, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	if err := checkSections(&document); err != nil {
		return s, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	if err := document.Load(&s, yaml.WithKnownFields()); err != nil {
		return s, nil, fmt.Errorf("%w: %s", errSettings, explainYAML(err))
	}
	if s.Version != settingsVersion {
		return s, nil, fmt.Errorf("%w: version is %d (this program knows version %d)", errSettings, s.Version, settingsVersion)
	}
	return s, warnings, nil
}

// mapping is the document's top level, nil if it is something else.
func mapping(document *yaml.Node) *yaml.Node {
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		document = document.Content[0]
	}
	if document.Kind != yaml.MappingNode {
		return nil
	}
	return document
}

// sections must have something in them: an empty one would silently be a role
// that is off.
var sections = map[string]bool{"client": true, "web": true, "webdav": true, "sftp": true, "storage": true, "introducer": true, "relay": true, "manager": true, "aggregator": true, "helper": true, "renewer": true, "repairer": true, "tor": true}

func checkSections(document *yaml.Node) error {
	top := mapping(document)
	if top == nil {
		return errors.New("the file should have lines such as nickname: alice")
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if sections[key.Value] && (value.Kind != yaml.MappingNode || len(value.Content) == 0) {
			return fmt.Errorf("line %d: section %s has no settings; remove it if the node is not to have that role", key.Line, key.Value)
		}
	}
	return nil
}

// renamed are former names of settings; those of Tahoe's tahoe.cfg stand here
// because people type them from memory. Sections are joined by dots.
var renamed = map[string]string{
	"client.shares.needed":   "shares-needed",
	"client.shares.happy":    "shares-happy",
	"client.shares.total":    "shares-total",
	"storage.reserved_space": "reserved-space",
	"web.port":               "listen",
}

// rename gives settings of the table their present name.
func rename(document *yaml.Node) (warnings []string, err error) {
	top := mapping(document)
	if top == nil {
		return nil, nil
	}
	warnings, err = renameIn(top, "")
	for i := 0; i+1 < len(top.Content) && err == nil; i += 2 {
		if value := top.Content[i+1]; value.Kind == yaml.MappingNode {
			var more []string
			more, err = renameIn(value, top.Content[i].Value+".")
			warnings = append(warnings, more...)
		}
	}
	return warnings, err
}

func renameIn(section *yaml.Node, path string) (warnings []string, err error) {
	present := map[string]bool{}
	for i := 0; i+1 < len(section.Content); i += 2 {
		present[section.Content[i].Value] = true
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		key := section.Content[i]
		now, old := renamed[path+key.Value]
		if !old {
			continue
		}
		if present[now] {
			return nil, fmt.Errorf("line %d: %s%s is an old name of %s%s, which is there too", key.Line, path, key.Value, path, now)
		}
		warnings = append(warnings, fmt.Sprintf("line %d: %s%s is now called %s%s", key.Line, path, key.Value, path, now))
		key.Value, present[now] = now, true
	}
	return warnings, nil
}

var (
	unknownField = regexp.MustCompile(`^field (.*) not found in type .*$`)
	wrongKind    = regexp.MustCompile("^cannot construct !!(\\w+) ?(`.*`)? ?into (.*)$")
)

// kinds are YAML's words and Go's for people.
var kinds = map[string]string{
	"str": "text", "int": "a number", "float": "a number with a point", "bool": "true or false", "seq": "a list", "map": "a section", "null": "nothing",
	"string": "text", "[]string": "a list", "timestamp": "a date",
}

// explainYAML is what the decoder says without the names of Go types.
func explainYAML(err error) string {
	var many *yaml.LoadErrors
	if errors.As(err, &many) {
		lines := make([]string, len(many.Errors))
		for i, one := range many.Errors {
			lines[i] = explainOne(one.Mark.Line, one.Message, one)
		}
		return strings.Join(lines, "; ")
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		return explainOne(one.Mark.Line, one.Message, one)
	}
	return err.Error()
}

func explainOne(line int, message string, whole error) string {
	if message == "" {
		message = whole.Error()
	}
	if m := unknownField.FindStringSubmatch(message); m != nil {
		message = "there is no setting " + m[1]
	} else if m := wrongKind.FindStringSubmatch(message); m != nil {
		message = fmt.Sprintf("%s is %s (want %s)", quotedOr(m[2], "this"), kindName(m[1]), kindName(m[3]))
	}
	if line <= 0 {
		return message
	}
	return fmt.Sprintf("line %d: %s", line, message)
}

func quotedOr(quoted, otherwise string) string {
	if quoted == "" {
		return otherwise
	}
	return quoted
}

func kindName(name string) string {
	if known, ok := kinds[name]; ok {
		return known
	}
	return "a section"
}
