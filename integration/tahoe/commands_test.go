//go:build integration

package tahoe_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// stock is Tahoe's own command line, pointed at the gateway of a node.
type stock struct {
	t       *testing.T
	program string
	node    string // folder, in which it finds the gateway and keeps its aliases
	work    string
	table   bytes.Buffer
	rows    *tabwriter.Writer
}

// stockPatience is how long one of its commands may take.
const stockPatience = 2 * time.Minute

func newStock(t *testing.T, client *nodes.Node) *stock {
	t.Helper()
	python, err := exec.Command("./venv").Output()
	if err != nil {
		t.Fatalf("install Tahoe-LAFS: %v: %s", err, stderrOf(err))
	}
	s := &stock{t: t, program: filepath.Join(filepath.Dir(strings.TrimSpace(string(python))), "tahoe"), node: client.Dir, work: t.TempDir()}
	s.rows = tabwriter.NewWriter(&s.table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(s.rows, "COMMAND\tRESULT\tSECONDS")
	t.Cleanup(func() {
		s.rows.Flush()
		t.Logf("stock Tahoe-LAFS at Tarn's gateway\n%s", &s.table)
	})
	return s
}

// run wants a command to succeed and to print what the pattern matches.
func (s *stock) run(pattern string, args ...string) string {
	s.t.Helper()
	return s.runWith(nil, pattern, args...)
}

func (s *stock) runWith(stdin []byte, pattern string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), stockPatience)
	defer cancel()
	c := exec.CommandContext(ctx, s.program, append([]string{"-d", s.node}, args...)...)
	var out, errs bytes.Buffer
	c.Dir, c.Stdin, c.Stdout, c.Stderr = s.work, bytes.NewReader(stdin), &out, &errs
	c.Env = append(os.Environ(), "BROWSER="+s.browser(), "LC_ALL=C.UTF-8")
	start := time.Now()
	err := c.Run()
	result := "works"
	if err != nil || !regexp.MustCompile(pattern).MatchString(out.String()) {
		result = "FAILS"
		s.t.Errorf("tahoe %s: %v\nprinted %s\n%s\nwant %s", strings.Join(args, " "), err, &out, &errs, pattern)
	}
	shown := strings.Join(args, " ")
	fmt.Fprintf(s.rows, "tahoe %.60s\t%s\t%.1f\n", strings.ReplaceAll(shown, s.work+"/", ""), result, time.Since(start).Seconds())
	return strings.TrimSpace(out.String())
}

// browser is a program that stands in for one: it writes down where it was to go.
func (s *stock) browser() string {
	path := filepath.Join(s.work, "browser")
	if _, err := os.Stat(path); err != nil {
		text := fmt.Sprintf("#!/bin/sh\nprintf '%%s' \"$1\" > %s/opened\n", s.work)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	return path + " %s"
}

func (s *stock) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.work, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stock) same(a, b string) {
	s.t.Helper()
	if out, err := exec.Command("diff", "-r", filepath.Join(s.work, a), filepath.Join(s.work, b)).CombinedOutput(); err != nil {
		s.t.Errorf("%s and %s differ: %s", a, b, out)
	}
}

// Tahoe's own command line, unmodified, does all that it does at the gateway of
// its own node.
func TestStockCommands(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 2, Happy: 3, Total: 3, Gateway: true})
	s := newStock(t, g.Client)
	letter := strings.Repeat("Dear reader, this is longer than what a capability holds.\n", 50)
	s.write("letter.txt", letter)
	s.write("tree/one.txt", letter)
	s.write("tree/sub/two.txt", "small")
	s.write("tree/sub/deeper/Ünïcode ☃.txt", letter+letter)
	s.write("tree/sub/empty", "")

	s.run("created", "create-alias", "tahoe")
	s.run("tahoe: *URI:DIR2:", "list-aliases")
	s.run("^URI:DIR2:", "mkdir", "tahoe:docs/2026")
	s.run("^URI:DIR2-MDMF:", "mkdir", "--format=mdmf", "tahoe:large")
	s.run("^URI:CHK:", "put", "letter.txt")
	s.run("^URI:CHK:", "put", "letter.txt", "tahoe:docs/letter.txt")
	s.runWith([]byte("hello"), "^URI:LIT:", "put", "-", "tahoe:docs/small")
	s.run("", "get", "tahoe:docs/letter.txt", "copy")
	s.same("letter.txt", "copy")
	s.run("^hello$", "get", "tahoe:docs/small")
	s.run("(?s)2026.*letter.txt.*small", "ls", "tahoe:docs")
	s.run(`-r-- 2900 .* letter.txt`, "ls", "-l", "tahoe:docs")
	s.run(`"dirnode"`, "ls", "--json", "tahoe:docs")

	notes := s.run("^URI:SSK:", "put", "--mutable", "letter.txt", "tahoe:docs/notes")
	s.runWith([]byte("second version"), "^URI:SSK:", "put", "-", "tahoe:docs/notes")
	s.runWith([]byte("third version"), "^URI:SSK:", "put", "-", notes)
	s.run("^third version$", "get", "tahoe:docs/notes")
	s.run("^URI:MDMF:", "put", "--format=mdmf", "letter.txt", "tahoe:docs/medium")
	s.run("", "get", "tahoe:docs/medium", "copy2")
	s.same("letter.txt", "copy2")

	s.run("Success", "cp", "-r", "tree", "tahoe:docs")
	s.run("Success", "cp", "-r", "tahoe:docs/tree", "out")
	s.same("tree", "out/tree")
	s.run("Success", "cp", "-r", "tahoe:docs/tree", "tahoe:large")
	s.run("Success", "cp", "letter.txt", "tahoe:docs/notes")
	s.run("^Dear reader", "get", "tahoe:docs/notes")
	s.run("OK", "mv", "tahoe:docs/letter.txt", "tahoe:docs/moved.txt")
	s.run("OK", "mv", "tahoe:docs/moved.txt", "tahoe:large/")
	s.run("OK", "ln", "tahoe:large/moved.txt", "tahoe:linked")
	s.run("^Dear reader", "get", "tahoe:linked")
	s.run("", "unlink", "tahoe:linked")
	s.run("", "unlink", "tahoe:docs/small")
	s.run("^2026\nmedium\nnotes\ntree\n$", "ls", "tahoe:docs")

	s.run(`4 files uploaded \(0 reused\).*3 directories created`, "backup", "tree", "tahoe:backups")
	s.run(`0 files uploaded \(4 reused\).*0 directories created \(3 reused\)`, "backup", "tree", "tahoe:backups")
	s.run("Success", "cp", "-r", "tahoe:backups/Latest", "restored")
	s.same("tree", "restored/Latest")

	s.run("(?s)Healthy.*good-shares: 3 .encoding is 2-of-3", "check", "tahoe:large/moved.txt")
	s.run("done: [0-9]+ objects checked, [0-9]+ healthy, 0 unhealthy", "deep-check", "tahoe:backups/Latest")
	s.run("Summary: healthy", "check", "--repair", "--verify", "tahoe:large/moved.txt")
	s.run("post-repair: [0-9]+ healthy, 0 unhealthy", "deep-check", "--repair", "--add-lease", "tahoe:backups/Latest")
	s.run("(?s)Healthy.*good-shares: 3 .encoding is 2-of-3", "check", "--verify", "tahoe:docs/medium")
	s.run("Summary: healthy", "check", "--repair", "--verify", "tahoe:docs")
	s.run("done: [0-9]+ objects checked, [0-9]+ healthy, 0 unhealthy", "deep-check", "--verify", "tahoe:")
	s.run("post-repair: [0-9]+ healthy, 0 unhealthy", "deep-check", "--repair", "--add-lease", "tahoe:")
	s.run("(?s)Ünïcode ☃.txt", "manifest", "tahoe:")
	s.run("(?s)count-directories: 1[0-9].*Size Histogram", "stats", "tahoe:")
	s.run("", "webopen", "tahoe:docs")
	s.opened()
	s.run("added", "add-alias", "work", s.run("^URI:DIR2:", "mkdir"))
	s.run("", "ls", "work:")
}

// opened wants the browser to have been sent to a page of the gateway.
func (s *stock) opened() {
	s.t.Helper()
	address, err := os.ReadFile(filepath.Join(s.work, "opened"))
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.Get(string(address))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(page), "notes") {
		s.t.Errorf("webopen opened a page with %d, %v: %s", r.StatusCode, err, page)
	}
}
