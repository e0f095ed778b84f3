package users_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/web/users"
)

const (
	key  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQAohfhb4AdxPJDMRjEKWN80hUyn+yd0mX3lkQvvtUl"
	root = "URI:DIR2-LIT:"
	hash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
)

var good = `version: 1
users:
  alice:
    root: "` + root + `"
    password: ` + hash + `
    keys:
      - ` + key + ` alice@laptop
      - ` + key + `
  bob:
    root: "` + root + `"
`

// What is written is what is read.
func TestUsers(t *testing.T) {
	list, err := users.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Name != "alice" || list[0].Hash != hash || len(list[0].Keys) != 2 || list[0].Keys[0].Comment != "alice@laptop" || list[1].Root != root {
		t.Errorf("%+v", list)
	}
	k, err := users.ParseKey(key)
	if err != nil || !list[0].HasKey(k) || list[1].HasKey(k) {
		t.Errorf("keys: %v", err)
	}
	text := users.Format(list)
	again, err := users.Parse(text)
	if err != nil || len(again) != 2 || again[0].Keys[0].String() != list[0].Keys[0].String() {
		t.Errorf("%s: %v", text, err)
	}
	for _, empty := range []string{"version: 1\nusers:\n", "version: 1\n", "version: 1\nusers: {}\n"} {
		if list, err := users.Parse([]byte(empty)); err != nil || len(list) != 0 {
			t.Errorf("%q: %v, %v", empty, list, err)
		}
	}
}

// Each mistake is told with its line, and no secret with it.
func TestMistakes(t *testing.T) {
	secret := "URI:DIR2:notthewholesecret"
	for _, c := range []struct{ text, want string }{
		{"", "line 1: it is not YAML"},
		{"- a", "line 1: the file should have lines"},
		{"version: 2\nusers: {}", "version is not 1"},
		{"version: 1\nusers:\n  alice: {root: " + secret + "}", "line 3: alice: root is not the capability"},
		{"version: 1\nusers:\n  alice:\n    password: x", "line 4: alice has no root"},
		{"version: 1\nusers:\n  Alice Smith: {root: 'URI:DIR2-LIT:'}", "line 3: not the name of a user"},
		{"version: 1\nusers:\n  alice: {root: 'URI:DIR2-LIT:'}\n  alice: {root: 'URI:DIR2-LIT:'}", "line"},
		{"version: 1\nusers:\n  alice:\n    root: 'URI:DIR2-LIT:'\n    keys: [" + secret + "]", "line 5: alice: a key is not an SSH public key"},
		{"version: 1\nusers:\n  alice:\n    root: 'URI:DIR2-LIT:'\n    keys: " + secret, "line 5: alice: keys should be a list"},
		{"version: 1\nusers:\n  alice:\n    root: 'URI:DIR2-LIT:'\n    password: " + secret, "line 5: alice: password is not what"},
		{"version: 1\nusers:\n  alice:\n    root: 'URI:DIR2-LIT:'\n    home: " + secret, "line 5: alice has something else than root, password, keys"},
		{"version: 1\nusers:\n  alice:\n    root: [" + secret + "]", "line 4: alice: root should be text"},
		{"version: 1\nusers: {alice: {root: \"" + secret, "it is not YAML"},
		{"version: 1\nroot: " + secret + "\nusers:\n  B: x", "line 2: the file has something else than version, users; line 4"},
	} {
		_, err := users.Parse([]byte(c.text))
		if !errors.Is(err, users.ErrUsers) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

type source map[string]users.User

func (s source) User(name string) (users.User, bool) {
	u, ok := s[name]
	return u, ok
}

// A password counts as long as it is the user's, and no other does.
func TestPasswords(t *testing.T) {
	s := source{}
	set := func(name, password string) {
		h, err := users.Hash(password)
		if err != nil {
			t.Fatal(err)
		}
		s[name] = users.User{Name: name, Hash: h}
	}
	set("alice", "first password")
	set("bob", "second password")
	s["carol"] = users.User{Name: "carol"}
	p, err := users.NewPasswords(s)
	if err != nil {
		t.Fatal(err)
	}
	want := func(name, password string, want bool) {
		t.Helper()
		if _, got := p.User(t.Context(), name, password); got != want {
			t.Errorf("%s %q: %v", name, password, got)
		}
	}
	want("alice", "first password", true)
	want("alice", "first password", true)
	want("alice", "second password", false)
	want("bob", "first password", false)
	want("carol", "", false)
	want("mallory", "", false)
	set("alice", "third password")
	want("alice", "first password", false)
	want("alice", "third password", true)
	delete(s, "alice")
	want("alice", "third password", false)
	for _, bad := range []string{"short", strings.Repeat("x", 73)} {
		if _, err := users.Hash(bad); !errors.Is(err, users.ErrPassword) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, "", "version: 1\nusers: {alice: {root: 'URI:DIR2-LIT:', keys: [x]}}", "&a [*a]", "version: 1\nusers: &u {a: *u}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		list, err := users.Parse(content)
		if err != nil {
			return
		}
		text := users.Format(list)
		again, err := users.Parse(text)
		if err != nil || len(again) != len(list) {
			t.Errorf("%q became %q: %v", content, text, err)
		}
	})
}
