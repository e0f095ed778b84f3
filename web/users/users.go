// Package users is who comes to a node by WebDAV and SFTP: the users' file, and how
// somebody shows to be one of them.
//
// Parse reads the file, Format writes it, Passwords compares passwords. Each user
// has a directory, beyond which he sees nothing. The file has secrets in it, the
// capabilities of those directories: no error repeats any of it but names.
package users

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"

	"github.com/tarn-grid/tarn/file"
)

// Bounds of the file, and of what is in it.
const (
	MaxSize  = 1 << 20 // bytes
	maxUsers = 10_000
	maxKeys  = 100 // of one user
	maxName  = 64  // bytes
)

// version is that of the file.
const version = "1"

// Errors.
var (
	// ErrUsers means that a file can't be that of users.
	ErrUsers = errors.New("not a file of users")
	// ErrName means that a name can't be a user's.
	ErrName = errors.New("not the name of a user: want a-z, 0-9, . _ and -, not first, at most 64")
	// ErrRoot means that a capability is not that of a directory.
	ErrRoot = errors.New("not the capability of a directory that can be read")
	// ErrKey means that a text is not an SSH public key as in authorized_keys.
	ErrKey = errors.New("not an SSH public key, such as ssh-ed25519 AAAA")
	// ErrPassword means that a password can't be used.
	ErrPassword = errors.New("not a password that can be used: want 8 to 72 bytes")
)

// User is one of them. Without a password he can't use WebDAV, without a key not
// SFTP.
type User struct {
	Name string
	// Root is the capability of his directory, a secret.
	Root string
	// Hash is what bcrypt makes of his password; empty for none.
	Hash string
	Keys []Key
}

// Key is an SSH public key.
type Key struct {
	ssh.PublicKey
	Comment string
}

// String is the key as a line of authorized_keys.
func (k Key) String() string {
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(k.PublicKey)), "\n")
	if k.Comment != "" {
		line += " " + k.Comment
	}
	return line
}

// HasKey tells whether a key is the user's.
func (u User) HasKey(key ssh.PublicKey) bool {
	return slices.ContainsFunc(u.Keys, func(k Key) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
}

// ParseKey reads one line of authorized_keys, without options.
func ParseKey(line string) (Key, error) {
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(line)))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return Key{}, ErrKey
	}
	if _, ok := key.(*ssh.Certificate); ok || !utf8.ValidString(comment) {
		return Key{}, ErrKey
	}
	return Key{key, comment}, nil
}

// CheckName wants a name that can stand in a URL and a command line.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > maxName || strings.ContainsAny(name[:1], ".-_") {
		return ErrName
	}
	for _, r := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return ErrName
		}
	}
	return nil
}

// CheckRoot wants the capability of a directory, and tells whether it can write.
func CheckRoot(capability string) (writable bool, err error) {
	parsed, err := file.Parse(capability)
	if err != nil {
		return false, ErrRoot
	}
	d, ok := parsed.(file.Directory)
	if !ok {
		return false, ErrRoot
	}
	if m, ok := d.File.(file.Mutable); ok {
		if _, ok := m.ReadKey(); !ok {
			return false, ErrRoot
		}
	}
	if _, ok := d.File.(file.CHKVerifier); ok {
		return false, ErrRoot
	}
	return d.Writable(), nil
}

// Hash makes of a password what the file has.
func Hash(password string) (string, error) {
	if len(password) < 8 || len(password) > 72 {
		return "", ErrPassword
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	return string(hash), err
}

// Format writes the file. What Go quotes, YAML reads.
func Format(list []User) []byte {
	var b bytes.Buffer
	b.WriteString("# Who may come by WebDAV and SFTP, each to a directory of his own. Written by\n" +
		"# tarn user; changes are seen within a moment. Keep it secret: whoever has\n" +
		"# a root has the files.\nversion: " + version + "\nusers:\n")
	for _, u := range list {
		fmt.Fprintf(&b, "  %s:\n    root: %q\n", u.Name, u.Root)
		if u.Hash != "" {
			fmt.Fprintf(&b, "    password: %s\n", u.Hash)
		}
		if len(u.Keys) > 0 {
			b.WriteString("    keys:\n")
		}
		for _, k := range u.Keys {
			fmt.Fprintf(&b, "      - %q\n", k.String())
		}
	}
	return b.Bytes()
}
