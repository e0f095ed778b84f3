package sftp_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	client "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/sftp"
	"github.com/tarn-grid/tarn/web/tree"
	"github.com/tarn-grid/tarn/web/users"
)

type source map[string]users.User

func (s source) User(name string) (users.User, bool) {
	u, ok := s[name]
	return u, ok
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// server is one with the users alice, who can write, and bob, who can read the same.
type server struct {
	t       *testing.T
	address string
	host    ssh.Signer
	key     ssh.Signer
	node    *memnode.Node
	root    tarn.MutableResult
	tmp     string // where files are spooled
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, host: newKey(t), key: newKey(t), node: &memnode.Node{}}
	var err error
	if s.root, err = s.node.MakeDirectory(t.Context(), tarn.MutableOptions{}); err != nil {
		t.Fatal(err)
	}
	s.tmp = t.TempDir()
	keys := []users.Key{{PublicKey: newKey(t).PublicKey()}, {PublicKey: s.key.PublicKey()}}
	known := source{"alice": {Name: "alice", Root: s.root.Cap, Keys: keys}, "bob": {Name: "bob", Root: s.root.ReadCap, Keys: keys}, "carol": {Name: "carol", Root: s.root.Cap}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running := sftp.NewServer(tree.New(s.node, s.tmp), known, s.host, nil)
	s.address = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- running.Serve(l) }()
	t.Cleanup(func() {
		if err := running.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func (s *server) dial(user string, with ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", s.address, &ssh.ClientConfig{User: user, Auth: with, HostKeyCallback: ssh.FixedHostKey(s.host.PublicKey()), Timeout: time.Minute})
}

func (s *server) connect(user string) (*ssh.Client, *client.Client) {
	s.t.Helper()
	c, err := s.dial(user, ssh.PublicKeys(s.key))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	f, err := client.NewClient(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, f
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, c *client.Client, name string, content []byte) {
	t.Helper()
	f, err := c.Create(name)
	check(t, err)
	_, err = f.ReadFrom(bytes.NewReader(content))
	check(t, err)
	check(t, f.Close())
}

func get(c *client.Client, name string) ([]byte, error) {
	f, err := c.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	_, err = f.WriteTo(&b)
	return b.Bytes(), err
}

func want(t *testing.T, c *client.Client, name string, content []byte) {
	t.Helper()
	got, err := get(c, name)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(content))
	}
}

// What programs do, with large files in many requests at a time.
func TestSFTP(t *testing.T) {
	s := serve(t)
	_, c := s.connect("alice")
	large := make([]byte, 5<<20+17)
	_, _ = rand.Read(large) // never fails
	check(t, c.Mkdir("/dir"))
	put(t, c, "/dir/large", large)
	want(t, c, "/dir/large", large)
	put(t, c, "/dir/empty", nil)
	want(t, c, "/dir/empty", nil)
	i, err := c.Stat("/dir/large")
	check(t, err)
	if i.Size() != int64(len(large)) || i.IsDir() || i.Mode().Perm() != 0o600 {
		t.Errorf("%+v", i)
	}

	f, err := c.OpenFile("/dir/large", os.O_RDWR) // a part is written over
	check(t, err)
	_, err = f.WriteAt([]byte("part"), 3<<20)
	check(t, err)
	part := make([]byte, 6)
	_, err = f.ReadAt(part, 3<<20-1)
	check(t, err)
	copy(large[3<<20:], "part")
	if !bytes.Equal(part, large[3<<20-1:3<<20+5]) {
		t.Errorf("read while it is written: %q", part)
	}
	check(t, f.Truncate(4<<20))
	if i, err := f.Stat(); err != nil || i.Size() != 4<<20 {
		t.Errorf("stat while it is written: %v, %v", i, err)
	}
	check(t, f.Close())
	want(t, c, "/dir/large", large[:4<<20])

	then := time.Unix(1_000_000_000, 0)
	check(t, c.Chtimes("/dir/empty", then, then))
	check(t, c.Chmod("/dir/empty", 0o644))
	if i, err := c.Stat("/dir/empty"); err != nil || !i.ModTime().Equal(then) {
		t.Errorf("%v, %v", i, err)
	}
	if err := c.Rename("/dir/empty", "/dir/large"); err == nil {
		t.Error("a rename took the place of a file")
	}
	check(t, c.PosixRename("/dir/empty", "/dir/large"))
	want(t, c, "/dir/large", nil)
	if err := c.RemoveDirectory("/dir"); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
	check(t, c.Remove("/dir/large"))
	check(t, c.RemoveDirectory("/dir"))
	if _, err := c.Stat("/dir"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := c.Symlink("/a", "/b"); err == nil {
		t.Error("a link was made")
	}
}

// A file is not there before it is whole, and never if the connection is lost.
func TestLostConnection(t *testing.T) {
	s := serve(t)
	_, c := s.connect("alice")
	put(t, c, "/file", []byte("what was there"))
	line, broken := s.connect("alice")
	for _, name := range []string{"/file", "/new"} {
		f, err := broken.Create(name)
		check(t, err)
		_, err = f.Write([]byte("half"))
		check(t, err)
	}
	if _, err := c.Stat("/new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it is closed: %v", err)
	}
	line.Close()
	for deadline := time.Now().Add(time.Minute); spooled(t, s.tmp) > 0; { // until the server is done with it
		if time.Now().After(deadline) {
			t.Fatal("what was sent is still there")
		}
	}
	check(t, c.Mkdir("/dir")) // comes after all changes before it
	list, err := c.ReadDir("/")
	if err != nil || len(list) != 2 || list[1].Name() != "file" {
		t.Errorf("%v, %v", list, err)
	}
	want(t, c, "/file", []byte("what was there"))
}

// spooled counts the open files of this process that were in a folder and have no
// name any more.
func spooled(t *testing.T, dir string) (n int) {
	open, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, fd := range open {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// Nobody comes in but with a key that is his, and who can only read changes
// nothing.
func TestWhoMayDoWhat(t *testing.T) {
	s := serve(t)
	_, c := s.connect("alice")
	put(t, c, "/file", []byte("text"))
	for user, auth := range map[string]ssh.AuthMethod{
		"alice":   ssh.PublicKeys(newKey(t)),
		"carol":   ssh.PublicKeys(s.key),
		"mallory": ssh.PublicKeys(s.key),
		"bob":     ssh.Password("text"),
	} {
		if c, err := s.dial(user, auth); err == nil {
			c.Close()
			t.Errorf("%s came in", user)
		}
	}
	_, bob := s.connect("bob")
	want(t, bob, "/file", []byte("text"))
	_, err := bob.Create("/file")
	for what, err := range map[string]error{
		"create": err, "mkdir": bob.Mkdir("/dir"), "remove": bob.Remove("/file"), "rename": bob.PosixRename("/file", "/x"),
		"chtimes": bob.Chtimes("/file", time.Unix(1, 0), time.Unix(1, 0)), "truncate": bob.Truncate("/file", 0),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	want(t, bob, "/file", []byte("text"))
}

// There is no shell, no command and no forwarding.
func TestNothingElse(t *testing.T) {
	s := serve(t)
	line, _ := s.connect("alice")
	for _, command := range []string{"scp -t .", "sh"} {
		session, err := line.NewSession()
		check(t, err)
		var out, errs bytes.Buffer
		session.Stdout, session.Stderr = &out, &errs
		var exited *ssh.ExitError
		if err := session.Run(command); !errors.As(err, &exited) || exited.ExitStatus() != 1 {
			t.Errorf("%s: %v", command, err)
		}
		if out.Len() > 0 || !strings.Contains(errs.String(), "scp without -O") {
			t.Errorf("%s: %q, %q", command, out.String(), errs.String())
		}
	}
	if c, err := line.Dial("tcp", s.address); err == nil {
		c.Close()
		t.Error("a connection was forwarded")
	}
	if l, err := line.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("a port was forwarded")
	}
	session, err := line.NewSession()
	check(t, err)
	if err := session.RequestSubsystem("other"); err == nil {
		t.Error("there is another subsystem")
	}
}

// Bounds hold, and who keeps within them goes on.
func TestBounds(t *testing.T) {
	s := serve(t)
	_, c := s.connect("alice")
	var open []io.Closer
	var last error
	for range 200 {
		f, err := c.Create("/file")
		if err != nil {
			last = err
			break
		}
		open = append(open, f)
	}
	if len(open) != 64 || last == nil || !strings.Contains(last.Error(), "too many files") {
		t.Errorf("%d are open, %v", len(open), last)
	}
	if _, err := c.ReadDir("/"); err == nil {
		t.Error("a directory was opened beside them")
	}
	for _, f := range open {
		check(t, f.Close())
	}
	for range 100 {
		_, err := c.ReadDir("/")
		check(t, err)
	}
	f, err := c.Create("/file")
	check(t, err)
	if _, err := f.WriteAt([]byte("x"), 1<<40); err == nil {
		t.Error("a byte was written far behind the end")
	}
	if err := f.Truncate(1 << 60); err == nil {
		t.Error("the file was made as long as nothing is")
	}
	_, err = f.WriteAt([]byte("x"), 10)
	check(t, err)
	check(t, f.Close())
	want(t, c, "/file", []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00x"))

	line, err := s.dial("alice", ssh.PublicKeys(s.key))
	check(t, err)
	defer line.Close()
	sessions := 0
	for range 20 {
		if _, err := line.NewSession(); err == nil {
			sessions++
		}
	}
	if sessions != 10 {
		t.Errorf("%d sessions of one connection", sessions)
	}
}
