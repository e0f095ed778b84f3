package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgressIsSilentInPipes(t *testing.T) {
	var out strings.Builder
	e := &env{stderr: &out}
	p := e.progress("storing", 10)
	p.at(5, 10)
	if _, err := io.WriteString(p, "x"); err != nil {
		t.Error(err)
	}
	p.end()
	e.note("only for %s", "people")
	if out.Len() > 0 {
		t.Errorf("a program saw %q", out.String())
	}
}

func TestProgressIsSeenOnTerminals(t *testing.T) {
	var out strings.Builder
	e := &env{stderr: &out, terminal: true}
	p := e.progress("storing", 2_000_000)
	p.at(1_000_000, 2_000_000)
	p.end()
	if !strings.Contains(out.String(), "storing") {
		t.Errorf("a person saw %q", out.String())
	}
}

func TestWritingToAFolderThatRefuses(t *testing.T) {
	if os.Geteuid() == 0 {
		// Nothing refuses root, so a file stands where a folder would be.
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, filepath.Join(file, "below"))
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, filepath.Join(dir, "node"))
}

func checkRefused(t *testing.T, dir string) {
	t.Helper()
	var stderr strings.Builder
	e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr}
	if code := execute(t.Context(), e, []string{"create-client", dir}); code != exitInTheWay {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if !strings.Contains(stderr.String(), fmt.Sprintf("%s %v", dir, errWrite)) {
		t.Errorf("%s", stderr.String())
	}
}

// TestResultThatCanNotBeWritten: exit code 0 would say that somebody has it.
func TestResultThatCanNotBeWritten(t *testing.T) {
	full, err := os.OpenFile(filepath.Join(t.TempDir(), "closed"), os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"version"}, {"create-introducer", t.TempDir()}} {
		var stderr strings.Builder
		e := &env{stdin: strings.NewReader(""), stdout: full, stderr: &stderr}
		if code := execute(t.Context(), e, args); code != exitFailed || !strings.Contains(stderr.String(), "write the result") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr.String())
		}
	}
}

// What somebody gave is repeated in errors, and must not command the terminal.
func TestErrorsDoNotCommandTheTerminal(t *testing.T) {
	var out strings.Builder
	if code := execute(t.Context(), &env{stderr: &out}, []string{"\x1b[31mred\x07\u009b"}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07\u009b") || !strings.Contains(out.String(), "[31mred") {
		t.Errorf("%q", out.String())
	}
}
