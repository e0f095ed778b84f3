package clause

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Parse reads a file of clauses. It returns those that are right, in the order
// of the file, and all that is wrong with the others.
func Parse(content []byte) ([]Clause, []Mistake) {
	var good []Clause
	var mistakes []Mistake
	for _, b := range blocks(content) {
		p := parser{first: b.line, lines: bytes.Count(bytes.TrimSpace(b.text), []byte("\n")) + 1, clause: Clause{Line: b.line, Server: b.server()}}
		p.block(b.text)
		if len(p.mistakes) == 0 {
			good = append(good, p.clause)
		}
		mistakes = append(mistakes, p.mistakes...)
	}
	return dropTwins(good, mistakes)
}

// dropTwins takes out all clauses of a server that has more than one: which is
// meant can't be told.
func dropTwins(all []Clause, mistakes []Mistake) ([]Clause, []Mistake) {
	lines := map[grid.ServerID][]int{}
	for _, c := range all {
		lines[c.Server] = append(lines[c.Server], c.Line)
	}
	return slices.DeleteFunc(all, func(c Clause) bool {
		at := lines[c.Server]
		if len(at) > 1 && c.Line != at[0] {
			mistakes = append(mistakes, Mistake{c.Line, c.Server, fmt.Sprintf("there is another clause for this server in line %d", at[0])})
		}
		return len(at) > 1
	}), mistakes
}

// block is a part of a file from a line without indentation on.
type block struct {
	line int // from 1 on
	text []byte
}

// blocks cuts a file into its clauses, so that what one of them breaks it breaks
// for itself alone.
func blocks(content []byte) []block {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	var all []block
	line := 0
	for text := range bytes.Lines(content) {
		line++
		switch {
		case marker(text):
		case begins(text):
			all = append(all, block{line: line, text: slices.Clone(text)})
		case len(all) > 0:
			last := &all[len(all)-1]
			last.text = append(last.text, text...)
		case len(bytes.TrimSpace(text)) > 0 && text[0] != '#':
			all = append(all, block{line: line, text: slices.Clone(text)}) // indented: the parser says what is wrong
		}
	}
	return all
}

// begins reports whether a clause begins with a line.
func begins(text []byte) bool {
	return !strings.ContainsRune(" \t\r\n#}]", rune(text[0]))
}

// marker reports whether a line is one between YAML documents.
func marker(text []byte) bool {
	line := strings.TrimSpace(string(text))
	return line == "---" || line == "..."
}

// server is whose clause it seems to be, zero if that can't be told.
func (b block) server() grid.ServerID {
	name, _, _ := bytes.Cut(b.text, []byte(":"))
	id, err := grid.ParseServerID(strings.Trim(string(bytes.TrimSpace(name)), `"'`))
	if err != nil {
		return grid.ServerID{}
	}
	return id
}

// parser reads one clause.
type parser struct {
	first    int // line of the file
	lines    int // how many there are
	clause   Clause
	mistakes []Mistake
}

// wrong notes a mistake at a line of the block, from 1 on.
func (p *parser) wrong(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{p.first + min(max(line, 1), p.lines) - 1, p.clause.Server, fmt.Sprintf(format, args...)})
}

func (p *parser) block(text []byte) {
	var document yaml.Node
	if err := yaml.Load(text, &document); err != nil {
		p.unreadable(err)
		return
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 ||
		document.Content[0].Kind != yaml.MappingNode || len(document.Content[0].Content) != 2 {
		p.wrong(1, "a clause begins with a server's id and a colon, v0-...:")
		return
	}
	name, value := document.Content[0].Content[0], document.Content[0].Content[1]
	id, err := grid.ParseServerID(name.Value)
	if err != nil {
		p.wrong(1, "%q is no server's id", name.Value)
		return
	}
	p.clause.Server = id
	p.section(value, "a clause", fields{"ignore": p.ignore, "local": p.local, "announcement": p.announcement})
}

// unreadable says in our words what is no YAML.
func (p *parser) unreadable(err error) {
	var one *yaml.LoadError
	var many *yaml.LoadErrors
	if errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	}
	if one == nil && !errors.As(err, &one) {
		p.wrong(1, "%v", err)
		return
	}
	p.wrong(one.Mark.Line, "this is no YAML: %s", strings.TrimPrefix(one.Message, "yaml: "))
}

// fields is what may stand in a section, and who reads it.
type fields map[string]func(name string, value *yaml.Node)

func (f fields) names() string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// section reads settings by their names.
func (p *parser) section(node *yaml.Node, what string, may fields) {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		p.wrong(node.Line, "%s has no settings (want some of %s)", what, may.names())
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		read := may[name.Value]
		switch {
		case read == nil:
			p.wrong(name.Line, "%s has no setting %q (want some of %s)", what, name.Value, may.names())
		case seen[name.Value]:
			p.wrong(name.Line, "%s stands there twice", name.Value)
		default:
			read(name.Value, value)
		}
		seen[name.Value] = true
	}
}

func (p *parser) local(_ string, node *yaml.Node) {
	p.section(node, "local", fields{"connections": p.connections, "punch": p.punch, "petname": p.petname, "heard": p.heard, "used": p.used})
}

func (p *parser) announcement(_ string, node *yaml.Node) {
	p.section(node, "announcement", fields{"nickname": p.nickname, "addresses": p.addresses, "sequence": func(string, *yaml.Node) {}, "signed": p.signed})
}

// yes reads true or false.
func (p *parser) yes(name string, node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!bool" {
		p.wrong(node.Line, "%s is to be true or false", name)
	}
	return node.Value == "true"
}

func (p *parser) ignore(name string, node *yaml.Node) { p.clause.Ignore = p.yes(name, node) }

func (p *parser) punch(name string, node *yaml.Node) { p.clause.Punch = new(p.yes(name, node)) }

// text reads a line of text, "" if it is none.
func (p *parser) text(name string, node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" || node.Value == "" {
		p.wrong(node.Line, "%s is to be a text", name)
		return ""
	}
	return node.Value
}

// name reads what people call a server.
func (p *parser) name(name string, node *yaml.Node) string {
	text := p.text(name, node)
	if text != "" && !showable(text) {
		p.wrong(node.Line, "%s is to be at most %d bytes that can be shown", name, MaxPetname)
	}
	return text
}

// showable reports whether a name can be printed in a line.
func showable(name string) bool {
	return len(name) <= MaxPetname && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (p *parser) petname(name string, node *yaml.Node) { p.clause.Petname = p.name(name, node) }

func (p *parser) nickname(name string, node *yaml.Node) { p.clause.Nickname = p.name(name, node) }

func (p *parser) heard(name string, node *yaml.Node) { p.clause.Heard = p.time(name, node) }

func (p *parser) used(name string, node *yaml.Node) { p.clause.Used = p.time(name, node) }

func (p *parser) time(name string, node *yaml.Node) time.Time {
	at, err := time.Parse(time.RFC3339, p.text(name, node))
	if err != nil {
		p.wrong(node.Line, "%s is to be a time such as 2026-01-02T15:04:05Z", name)
	}
	return at
}

func (p *parser) connections(_ string, node *yaml.Node) {
	may := fields{}
	for _, kind := range transport.Kinds() {
		may[string(kind)] = func(name string, value *yaml.Node) { p.way(kind, name, value) }
	}
	p.clause.Connections = map[transport.Kind]transport.Way{}
	p.section(node, "connections", may)
}

func (p *parser) way(kind transport.Kind, name string, node *yaml.Node) {
	way := transport.Way(p.text(name, node))
	if !slices.Contains(kind.Ways(), way) {
		p.wrong(node.Line, "%s can't be %q (want one of %s)", name, string(way), joined(kind.Ways()))
	}
	p.clause.Connections[kind] = way
}

func joined(ways []transport.Way) string {
	texts := make([]string, len(ways))
	for i, w := range ways {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func (p *parser) addresses(name string, node *yaml.Node) {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 || len(node.Content) > wire.MaxHints {
		p.wrong(node.Line, "%s is to be a list of at most %d, such as [/ip4/192.0.2.7/tcp/3457]", name, wire.MaxHints)
		return
	}
	for _, item := range node.Content {
		hint := grid.Hint(p.text("an address", item))
		if transport.KindOf(hint) == "" || len(hint) > wire.MaxHint {
			p.wrong(item.Line, "%q is no address that can be dialled (want one such as /ip4/192.0.2.7/tcp/3457)", string(hint))
		}
		p.clause.Addresses = append(p.clause.Addresses, hint)
	}
}

// signed reads an announcement and verifies it.
func (p *parser) signed(name string, node *yaml.Node) {
	signed, err := base64.StdEncoding.DecodeString(p.text(name, node))
	if err != nil {
		p.wrong(node.Line, "%s is not base64", name)
		return
	}
	a, err := wire.OpenAnnouncement(signed)
	switch {
	case err != nil:
		p.wrong(node.Line, "%v", err)
	case a.Server != p.clause.Server:
		p.wrong(node.Line, "%s is an announcement of another server, %s", name, a.Server)
	default:
		p.clause.Signed, p.clause.Announcement = signed, &a
	}
}
