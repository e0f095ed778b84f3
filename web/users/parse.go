package users

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/bcrypt"
)

// mistakes are what is wrong with a file, by lines.
type mistakes struct{ errs []error }

func (m *mistakes) at(n *yaml.Node, format string, args ...any) {
	m.errs = append(m.errs, fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...)))
}

// Parse reads the file, strictly: each mistake is named with its line. The users
// are sorted by name.
func Parse(content []byte) ([]User, error) {
	if len(content) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrUsers, MaxSize)
	}
	var document yaml.Node
	if err := yaml.Load(content, &document); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrUsers, where(err))
	}
	var m mistakes
	var list []User
	top := &document
	if top.Kind == yaml.DocumentNode && len(top.Content) == 1 {
		top = top.Content[0]
	}
	fields := m.fields(top, "the file", "version", "users")
	if v := fields["version"]; v == nil || v.Kind != yaml.ScalarNode || v.Value != version {
		m.at(top, "version is not %s", version)
	}
	if u := fields["users"]; u != nil && u.Tag != "!!null" {
		list = m.users(u)
	}
	if len(m.errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrUsers, joined(m.errs))
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// joined tells several errors in one line.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	const most = 10
	var err error
	for i, e := range errs {
		switch {
		case i == most:
			return fmt.Errorf("%w; and %d more", err, len(errs)-most)
		case err == nil:
			err = e
		default:
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	return err
}

// where says where a text stops to be YAML, and nothing of it.
func where(err error) string {
	var one *yaml.LoadError
	var many *yaml.LoadErrors
	if errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	} else if !errors.As(err, &one) {
		return "it is not YAML"
	}
	return fmt.Sprintf("line %d: it is not YAML", max(one.Mark.Line, 1))
}

// pairs are the members of a mapping. Names that stand there twice are mistakes,
// as are those that are not plain.
func (m *mistakes) pairs(n *yaml.Node, what string) (keys []*yaml.Node, values map[string]*yaml.Node) {
	values = map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		m.at(n, "%s should have lines such as name: value", what)
		return nil, values
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			m.at(key, "%s has a name that is no text", what)
		case values[key.Value] != nil:
			m.at(key, "%s has the same name twice", what)
		default:
			keys = append(keys, key)
			values[key.Value] = n.Content[i+1]
		}
	}
	return keys, values
}

// fields are pairs with known names.
func (m *mistakes) fields(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	keys, values := m.pairs(n, what)
	for _, key := range keys {
		if !slices.Contains(known, key.Value) {
			m.at(key, "%s has something else than %s", what, strings.Join(known, ", "))
		}
	}
	return maps.Clone(values)
}

func (m *mistakes) users(n *yaml.Node) []User {
	keys, values := m.pairs(n, "users")
	if len(keys) > maxUsers {
		m.at(n, "more than %d users", maxUsers)
		return nil
	}
	var list []User
	for _, key := range keys {
		if err := CheckName(key.Value); err != nil {
			m.at(key, "%w", err)
			continue
		}
		list = append(list, m.user(key.Value, values[key.Value]))
	}
	return list
}

func (m *mistakes) user(name string, n *yaml.Node) User {
	u := User{Name: name}
	fields := m.fields(n, name, "root", "password", "keys")
	switch root := fields["root"]; {
	case root == nil:
		m.at(n, "%s has no root", name)
	default:
		u.Root = m.text(root, name+": root")
		if _, err := CheckRoot(u.Root); err != nil && u.Root != "" {
			m.at(root, "%s: root is %w", name, err)
		}
	}
	if password := fields["password"]; password != nil {
		u.Hash = m.text(password, name+": password")
		if cost, err := bcrypt.Cost([]byte(u.Hash)); u.Hash != "" && (err != nil || cost > maxCost || len(u.Hash) != 60) {
			m.at(password, "%s: password is not what tarn user add --password makes of one", name)
		}
	}
	if keys := fields["keys"]; keys != nil {
		u.Keys = m.keys(name, keys)
	}
	return u
}

// maxCost is how expensive a comparison may be; each step doubles it.
const maxCost = 14

func (m *mistakes) keys(name string, n *yaml.Node) []Key {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxKeys {
		m.at(n, "%s: keys should be a list of at most %d", name, maxKeys)
		return nil
	}
	var keys []Key
	for _, item := range n.Content {
		k, err := ParseKey(m.text(item, name+": key"))
		if err != nil {
			m.at(item, "%s: a key is %w", name, err)
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

// text is a plain value, "" with a mistake for anything else.
func (m *mistakes) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Value == "" || n.Tag == "!!null" {
		m.at(n, "%s should be text", what)
		return ""
	}
	return n.Value
}
