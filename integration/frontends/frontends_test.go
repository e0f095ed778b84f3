//go:build integration

// Package frontends_test has OpenSSH's sftp and scp and rclone, as they are, use
// directories of a grid. Folders are mounted, so it needs FUSE and root.
package frontends_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m) }

const password = "correct horse"

// patience is how long any of the programs may take.
const patience = 2 * time.Minute

// served is a grid whose client serves WebDAV and SFTP to alice.
type served struct {
	t        *testing.T
	dir      string // for files of the test
	client   *nodes.Node
	dav, ssh *url.URL
}

func serve(t *testing.T) served {
	t.Helper()
	g := nodes.Prepare(t, nodes.Options{Servers: 3, Needed: 2, Happy: 2, Total: 3})
	settings := g.Client.Path("tarn.yaml")
	text, err := os.ReadFile(settings)
	check(t, err)
	check(t, os.WriteFile(settings, append(text, "\nwebdav: {listen: 127.0.0.1:0}\nsftp: {listen: 127.0.0.1:0}\n"...), 0o600))
	g.Client.Start()
	g.Client.WaitLogins(3)
	s := served{t: t, dir: t.TempDir(), client: g.Client}
	check(t, os.WriteFile(s.path("rclone.conf"), nil, 0o600))
	s.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path("key"))
	added := nodes.Run(t, strings.NewReader(password+"\n"), "-d", g.Client.Dir, "user", "add", "--new-directory", "--password", "--key", s.path("key.pub"), "alice")
	if added.Code != 0 {
		t.Fatal(added.Stderr)
	}
	s.dav, s.ssh = s.address("webdav.url"), s.address("sftp.url")
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s served) address(name string) *url.URL {
	s.t.Helper()
	text, err := os.ReadFile(s.client.Path(name))
	check(s.t, err)
	u, err := url.Parse(strings.TrimSpace(string(text)))
	check(s.t, err)
	return u
}

func (s served) path(name string) string { return filepath.Join(s.dir, name) }

// try runs a program to its end.
func (s served) try(stdin io.Reader, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = stdin, &out, &out
	c.Env = s.environment()
	err := c.Run()
	return out.String(), err
}

// environment has rclone know the WebDAV server as tarn:, and nothing else.
func (s served) environment() []string {
	env := append(os.Environ(), "HOME="+s.dir, "XDG_CACHE_HOME="+s.path("cache"), "RCLONE_CONFIG="+s.path("rclone.conf"))
	if s.dav == nil {
		return env
	}
	return append(env, "RCLONE_CONFIG_TARN_TYPE=webdav", "RCLONE_CONFIG_TARN_VENDOR=owncloud", "RCLONE_CONFIG_TARN_URL="+s.dav.String(), "RCLONE_CONFIG_TARN_USER=alice")
}

func (s served) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(nil, name, args...)
	if err != nil {
		s.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

func (s served) sshFlags() []string {
	flags := []string{"-F", "none", "-P", s.ssh.Port(), "-i", s.path("key")}
	for _, o := range []string{"BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new", "UserKnownHostsFile=" + s.path("known")} {
		flags = append(flags, "-o", o)
	}
	return flags
}

func (s served) scp(args ...string) string {
	s.t.Helper()
	return s.run("scp", append(append(s.sshFlags(), "-q"), args...)...)
}

// sftp runs a batch; it ends at the first command that fails.
func (s served) sftp(batch ...string) (string, error) {
	return s.try(strings.NewReader(strings.Join(batch, "\n")+"\n"), "sftp", append(s.sshFlags(), "-b", "-", "alice@"+s.ssh.Hostname())...)
}

func (s served) same(a, b string) {
	s.t.Helper()
	s.run("cmp", a, b)
}

// tree makes a tree of files, some of them large.
func (s served) tree(name string) string {
	s.t.Helper()
	root := s.path(name)
	for i, size := range []int64{0, 1, 55, 56, 100_000, 3 << 20} {
		dir := filepath.Join(root, fmt.Sprintf("dir %d", i%3), "Zoë")
		check(s.t, os.MkdirAll(dir, 0o700))
		content, err := io.ReadAll(nodes.Random(uint64(i), size))
		check(s.t, err)
		file := filepath.Join(dir, fmt.Sprintf("%d #?%%.bin", i))
		check(s.t, os.WriteFile(file, content, 0o600))
		then := time.Unix(1_000_000_000+int64(i), 0)
		check(s.t, os.Chtimes(file, then, then))
	}
	return root
}

// OpenSSH's programs do what they do with any server, and are told what can't be.
func TestOpenSSH(t *testing.T) {
	s := serve(t)
	large := nodes.RandomFile(t, 7, 20<<20+1)
	remote := "alice@" + s.ssh.Hostname() + ":"

	s.scp(large, remote+"/large")
	s.scp(remote+"/large", s.path("back"))
	s.same(large, s.path("back"))
	s.scp("-r", "-p", s.tree("tree"), remote+"/tree")
	s.scp("-r", "-p", remote+"/tree", s.path("tree-back"))
	s.run("diff", "-r", s.path("tree"), s.path("tree-back"))
	if i, err := os.Stat(s.path("tree-back/dir 0/Zoë/0 #?%.bin")); err != nil || i.ModTime().Unix() != 1_000_000_000 {
		t.Errorf("times are not kept: %v, %v", i, err)
	}

	short := nodes.RandomFile(t, 8, 1000)
	s.scp(short, remote+"/large") // over a longer one, which is cut off
	out, err := s.sftp("get /large "+s.path("short"), "mkdir /new", "rename /large /new/short", "ls -l /new", "rm /new/short", "rmdir /new", "ls -1 /")
	if err != nil || !strings.Contains(out, "1000") || strings.Contains(out, "large\n") || !strings.Contains(out, "tree") {
		t.Errorf("%v: %s", err, out)
	}
	s.same(short, s.path("short"))

	begun := s.path("begun") // its transfer broke off
	s.run("cp", large, begun)
	check(t, os.Truncate(begun, 5<<20+5))
	if out, err := s.sftp("put "+begun+" /again", "reput "+large+" /again", "get /again "+s.path("again")); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.same(large, s.path("again"))
	for _, bad := range []string{"rmdir /tree", "get /nothing", "ln -s /a /b", "cd /nothing"} {
		if out, err := s.sftp(bad); err == nil {
			t.Errorf("%s: %s", bad, out)
		}
	}
	if out, err := s.try(nil, "scp", append(s.sshFlags(), "-O", short, remote+"/x")...); err == nil || !strings.Contains(out, "use sftp, or scp without -O") {
		t.Errorf("scp of before 2022: %v, %s", err, out)
	}
}

// A file whose sender is killed is not there, and the one before it is.
func TestKilledUpload(t *testing.T) {
	s := serve(t)
	before := nodes.RandomFile(t, 1, 1<<20)
	s.scp(before, "alice@"+s.ssh.Hostname()+":/file")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "sftp", append(s.sshFlags(), "-b", "-", "-l", "2000", "alice@"+s.ssh.Hostname())...)
	c.Stdin = strings.NewReader("put " + nodes.RandomFile(t, 2, 50<<20) + " /file\n")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ssh is a child of it
	check(t, c.Start())
	nodes.Until(t, "some of it is there", patience, func() bool { return bytesOpen(s.client.Path("tmp")) > 256<<10 })
	check(t, syscall.Kill(-c.Process.Pid, syscall.SIGKILL))
	_ = c.Wait() // killed
	nodes.Until(t, "it is let go of", patience, func() bool { return bytesOpen(s.client.Path("tmp")) == 0 })
	s.scp("alice@"+s.ssh.Hostname()+":/file", s.path("back"))
	s.same(before, s.path("back"))
}

// bytesOpen is how much is in files that have no name any more and were in a
// folder, of all processes.
func bytesOpen(dir string) (size int64) {
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) && strings.HasSuffix(to, "(deleted)") {
			if i, err := os.Stat(fd); err == nil {
				size += i.Size()
			}
		}
	}
	return size
}

// rclone copies, checks, syncs and mounts.
func TestRclone(t *testing.T) {
	s := serve(t)
	obscured := strings.TrimSpace(s.run("rclone", "obscure", password))
	t.Setenv("RCLONE_CONFIG_TARN_PASS", obscured)
	tree := s.tree("tree")
	s.run("rclone", "copy", tree, "tarn:tree")
	s.run("rclone", "check", "--download", tree, "tarn:tree")
	if out := s.run("rclone", "copy", "-v", tree, "tarn:tree"); strings.Contains(out, "Copied") {
		t.Errorf("what is there was copied again: %s", out)
	}
	s.run("rclone", "copyto", "tarn:tree", "tarn:other/copy") // by the server
	s.run("rclone", "moveto", "tarn:other/copy", "tarn:moved")
	s.run("rclone", "check", "--download", tree, "tarn:moved")
	check(t, os.RemoveAll(filepath.Join(tree, "dir 1")))
	check(t, os.WriteFile(filepath.Join(tree, "new"), []byte("new"), 0o600))
	s.run("rclone", "sync", tree, "tarn:tree")
	s.run("rclone", "check", "--download", tree, "tarn:tree")

	at := s.mount()
	s.run("diff", "-r", tree, filepath.Join(at, "tree"))
	large := nodes.RandomFile(t, 9, 10<<20+7)
	check(t, os.Mkdir(filepath.Join(at, "folder"), 0o700))
	check(t, os.Rename(filepath.Join(at, "tree", "new"), filepath.Join(at, "folder", "renamed")))
	if out := s.run("rclone", "cat", "tarn:folder/renamed"); out != "new" {
		t.Errorf("what was renamed has %q", out)
	}
	s.run("cp", large, filepath.Join(at, "folder", "large"))
	nodes.Until(t, "it is on the grid", patience, func() bool {
		_, err := s.try(nil, "rclone", "cat", "--count", "1", "tarn:folder/large")
		return err == nil
	})
	s.run("rclone", "copyto", "tarn:folder/large", s.path("back"))
	s.same(large, s.path("back"))
	f, err := os.OpenFile(filepath.Join(at, "folder", "large"), os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt([]byte("changed"), 5<<20)
	check(t, err)
	check(t, f.Close())
	nodes.Until(t, "the change is on the grid", patience, func() bool {
		out, err := s.try(nil, "rclone", "cat", "--offset", fmt.Sprint(5<<20), "--count", "7", "tarn:folder/large")
		return err == nil && out == "changed"
	})
}

// mount has rclone mount all of it on a new folder.
func (s served) mount() string {
	s.t.Helper()
	at := s.path("mounted")
	check(s.t, os.Mkdir(at, 0o700))
	c := exec.Command("rclone", "mount", "tarn:", at, "--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--dir-cache-time", "1s")
	c.Env = s.environment()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	check(s.t, c.Start())
	s.t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt) // it unmounts by itself
		_ = c.Wait()
		if s.t.Failed() {
			s.t.Logf("rclone mount: %s", out.String())
		}
	})
	nodes.Until(s.t, "mounted", patience, func() bool {
		var here, above syscall.Stat_t
		return syscall.Stat(at, &here) == nil && syscall.Stat(s.dir, &above) == nil && here.Dev != above.Dev
	})
	return at
}

// What comes from elsewhere is not answered, and nothing secret was logged.
func TestFrontendsTellNothing(t *testing.T) {
	s := serve(t)
	c, err := net.Dial("tcp", s.ssh.Host)
	check(t, err)
	defer c.Close()
	s.scp(nodes.RandomFile(t, 1, 1000), "alice@"+s.ssh.Hostname()+":/secret-name")
	if _, err := s.sftp("get /not-there"); err == nil {
		t.Error("there is something")
	}
	s.client.Stop() // with a stranger's connection open
	for _, secret := range []string{"URI:", password, "secret-name", "not-there"} {
		if strings.Contains(s.client.Log(), secret) {
			t.Errorf("%q was logged", secret)
		}
	}
}
