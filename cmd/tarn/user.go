package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/users"
)

func newUser(e *env) *cobra.Command {
	return group("user", "Who may come to this node by WebDAV and SFTP",
		newAddUser(e), newListUsers(e), newRemoveUser(e))
}

type addUserOptions struct {
	name         string
	keys         []string // files
	password     bool
	newDirectory bool
}

func newAddUser(e *env) *cobra.Command {
	var o addUserOptions
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Let somebody use a directory by WebDAV or SFTP",
		Long: `Reads the capability of a directory from the first line of standard input. NAME
may then come by SFTP with one of the SSH keys in the files that --key names, and by
WebDAV with a password, if --password says that one is in the second line; he sees
the directory and what is below it, nothing else. With --new-directory one is made,
for which the node must run, and no capability is read.

Users are in private/users.yaml, which may be changed by hand, too. A running node
sees changes by itself; who is connected by SFTP already stays so. The node serves
WebDAV and SFTP where its tarn.yaml says at which addresses:

  webdav: {listen: "127.0.0.1:3465"}
  sftp: {listen: "127.0.0.1:3466"}`,
		Example: "  tarn user add --key ~/.ssh/id_ed25519.pub --new-directory alice\n  tarn user add --password alice < cap-and-password.txt",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runAddUser(ctx, e, o)
		}),
	}
	c.Flags().StringArrayVar(&o.keys, "key", nil, "file with SSH public keys, as in authorized_keys; may be given several times")
	c.Flags().BoolVar(&o.password, "password", false, "read a password for WebDAV")
	c.Flags().BoolVar(&o.newDirectory, "new-directory", false, "make an empty directory instead of reading a capability")
	return c
}

func runAddUser(ctx context.Context, e *env, o addUserOptions) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if len(o.keys) == 0 && !o.password {
		return usageError{errors.New("with neither --key nor --password there is no way to come in"), "tarn user add"}
	}
	u := users.User{Name: o.name}
	if err := users.CheckName(o.name); err != nil {
		return err
	}
	list, err := f.readUsers()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(old users.User) bool { return old.Name == o.name }) {
		return fmt.Errorf("%w: %s; to change something, change %s, or remove the user first", errUserThere, o.name, f.users())
	}
	if u.Keys, err = e.readKeys(o.keys); err != nil {
		return err
	}
	if err := o.readSecrets(e, &u); err != nil {
		return err
	}
	if o.newDirectory {
		if u.Root, err = e.newDirectory(ctx); err != nil {
			return err
		}
	}
	writable, err := users.CheckRoot(u.Root)
	if err != nil {
		return err
	}
	if err := f.writeUsers(append(list, u)); err != nil {
		return err
	}
	return e.print("%s may come%s, to a directory that he can %s\n", u.Name, waysIn(u), map[bool]string{true: "write", false: "only read"}[writable])
}

func waysIn(u users.User) string {
	var ways []string
	if len(u.Keys) > 0 {
		ways = append(ways, fmt.Sprintf(" by SFTP with %s", counted(int64(len(u.Keys)), "key")))
	}
	if u.Hash != "" {
		ways = append(ways, " by WebDAV with a password")
	}
	return strings.Join(ways, " and")
}

// readKeys reads files as authorized_keys are.
func (e *env) readKeys(names []string) ([]users.Key, error) {
	var keys []users.Key
	for _, name := range names {
		if name == "-" {
			return nil, usageError{errors.New("keys are read from a file; standard input has the capability"), "tarn user add"}
		}
		text, err := e.readText(name, "file of keys", users.MaxSize)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			k, err := users.ParseKey(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			keys = append(keys, k)
		}
	}
	if len(names) > 0 && len(keys) == 0 {
		return nil, fmt.Errorf("%s: %w: it is empty", names[0], users.ErrKey)
	}
	return keys, nil
}

// readSecrets reads what is wanted of capability and password, a line each.
func (o addUserOptions) readSecrets(e *env, u *users.User) error {
	var ask []string
	if !o.newDirectory {
		ask = append(ask, "Capability of the directory: ")
	}
	if o.password {
		ask = append(ask, "Password: ")
	}
	if len(ask) == 0 {
		return nil
	}
	lines, err := e.readLines(ask)
	if err != nil {
		return err
	}
	if !o.newDirectory {
		u.Root = strings.TrimSpace(lines[0])
	}
	if o.password {
		u.Hash, err = users.Hash(lines[len(lines)-1])
	}
	return err
}

// maxLines bounds what is read of standard input, in bytes.
const maxLines = 2 * file.MaxText

// readLines reads a line for each question, which a person is asked without that
// the answer is shown.
func (e *env) readLines(ask []string) ([]string, error) {
	if e.typed {
		var lines []string
		for _, question := range ask {
			_, _ = fmt.Fprint(e.stderr, question) // nobody reads it if this fails
			line, err := term.ReadPassword(int(os.Stdin.Fd()))
			_, _ = fmt.Fprintln(e.stderr)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			lines = append(lines, string(line))
		}
		return lines, nil
	}
	text, err := e.readText("-", "standard input", maxLines)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != len(ask) {
		return nil, usageError{fmt.Errorf("standard input has %s, want %d", counted(int64(len(lines)), "line"), len(ask)), "tarn user add"}
	}
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines, nil
}

// newDirectory makes an empty one: an empty mutable file is that.
func (e *env) newDirectory(ctx context.Context) (string, error) {
	n, f, err := e.node()
	if err != nil {
		return "", err
	}
	defer n.Close()
	made, err := n.CreateMutable(ctx, strings.NewReader(""), tarn.MutableOptions{Format: tarn.SDMF})
	if err != nil {
		return "", fmt.Errorf("make the directory: %w", f.explain(err))
	}
	c, err := file.Parse(made.Cap)
	if err != nil {
		return "", err
	}
	m, ok := c.(file.Mutable)
	if !ok {
		return "", users.ErrRoot
	}
	return m.Directory().String(), nil
}

type listUsersOptions struct{ json bool }

func newListUsers(e *env) *cobra.Command {
	var o listUsersOptions
	c := &cobra.Command{
		Use:     "list",
		Short:   "Show who may come by WebDAV and SFTP",
		Long:    "Shows the users, whether they can write their directory, whether they have a\npassword for WebDAV, and the fingerprints of their keys for SFTP.",
		Example: "  tarn user list\n  tarn user list --json",
		Args:    between(0, 0),
		RunE:    action(func(context.Context, []string) error { return runListUsers(e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

// shownUser is a user without his secrets.
type shownUser struct {
	Name     string   `json:"name"`
	Writable bool     `json:"writable"`
	Password bool     `json:"password"`
	Keys     []string `json:"keys"` // fingerprints
}

func runListUsers(e *env, o listUsersOptions) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	list, err := f.readUsers()
	if err != nil {
		return err
	}
	shown := []shownUser{}
	for _, u := range list {
		one := shownUser{Name: u.Name, Password: u.Hash != "", Keys: []string{}}
		if one.Writable, err = users.CheckRoot(u.Root); err != nil {
			return err
		}
		for _, k := range u.Keys {
			one.Keys = append(one.Keys, ssh.FingerprintSHA256(k.PublicKey))
		}
		shown = append(shown, one)
	}
	if o.json {
		return writeJSON(e.stdout, shown)
	}
	if len(shown) == 0 {
		return e.print("no users: add one with tarn user add\n")
	}
	t := newTable(e.stdout)
	t.row("USER", "DIRECTORY", "PASSWORD", "KEYS")
	for _, u := range shown {
		t.row(u.Name, map[bool]string{true: "read and write", false: "read"}[u.Writable], map[bool]string{true: "yes", false: "no"}[u.Password], strings.Join(u.Keys, " "))
	}
	return t.end()
}

func newRemoveUser(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Let somebody in no more",
		Long: `Takes a user out of private/users.yaml. His directory stays as it is, and whoever
has its capability goes on using that. By SFTP he may go on until he disconnects.`,
		Example: "  tarn user remove alice",
		Args:    between(1, 1),
		RunE:    action(func(_ context.Context, args []string) error { return runRemoveUser(e, args[0]) }),
	}
}

func runRemoveUser(e *env, name string) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	list, err := f.readUsers()
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(list), func(u users.User) bool { return u.Name == name })
	if len(rest) == len(list) {
		return fmt.Errorf("%w: %s", errNoUser, name)
	}
	if err := f.writeUsers(rest); err != nil {
		return err
	}
	return e.print("%s may come no more\n", name)
}
