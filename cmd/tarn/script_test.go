package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// codeCommand is "code N tarn args...": the command must exit with N. Its
// standard error is then checked with stderr patterns after --, each of which
// must be in it: code 3 tarn put x -- 'no node is running'.
func codeCommand(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: code N command [args...] [-- parts of standard error...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	command, parts := args[1:], []string(nil)
	for i, a := range command {
		if a == "--" {
			command, parts = command[:i], command[i+1:]
			break
		}
	}
	got, stdout, stderr := runProgram(ts, command)
	ts.Logf("[exit code %d]\n%s%s", got, stdout, stderr)
	if got != want {
		ts.Fatalf("exit code %d, want %d: %s", got, want, stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stderr, part) {
			ts.Fatalf("standard error has no %q: %s", part, stderr)
		}
	}
	if want != exitOK {
		checkErrorText(ts, stderr)
	}
}

// checkErrorText holds for all errors: one sentence and perhaps advice, no Go
// types, no stack.
func checkErrorText(ts *testscript.TestScript, stderr string) {
	if !strings.HasPrefix(stderr, "tarn: ") {
		ts.Fatalf("the error does not say who speaks: %s", stderr)
	}
	for _, bad := range []string{"goroutine", "panic", "%!", "main.", "*errors", "<nil>", "struct {"} {
		if strings.Contains(stderr, bad) {
			ts.Fatalf("the error has %q in it: %s", bad, stderr)
		}
	}
}

func runProgram(ts *testscript.TestScript, command []string) (code int, stdout, stderr string) {
	path, err := exec.LookPath(filepath.Join(programDir(ts), command[0]))
	ts.Check(err)
	c := exec.CommandContext(context.Background(), path, command[1:]...)
	var out, errs bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = ts.MkAbs("."), &out, &errs
	c.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "PATH="+ts.Getenv("PATH"))
	err = c.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		ts.Fatalf("run %s: %v", command[0], err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// programDir is the first folder of PATH, which is where tarn is.
func programDir(ts *testscript.TestScript) string {
	return filepath.SplitList(ts.Getenv("PATH"))[0]
}

// modeCommand is "mode 0600 file".
func modeCommand(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// editCommand is "edit FILE OLD NEW": the one place with the old text gets the
// new one.
func editCommand(ts *testscript.TestScript, _ bool, args []string) {
	content := ts.ReadFile(args[0])
	if n := strings.Count(content, args[1]); n != 1 {
		ts.Fatalf("%s has %q %d times", args[0], args[1], n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(content, args[1], args[2], 1)), 0o600))
}

// longdirCommand is "longdir VAR": a folder whose name is too long for a
// socket, in a variable.
func longdirCommand(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(filepath.Join(strings.Repeat("l", 100), strings.Repeat("g", 100)))
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Setenv(args[0], dir)
}

// keyofCommand is "keyof VAR FILE": the public key above an authority.
func keyofCommand(ts *testscript.TestScript, _ bool, args []string) {
	key, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	ts.Setenv(args[0], key)
}

// withoutlineCommand is "withoutline FILE N NEW": a copy without its line N.
func withoutlineCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	lines := strings.SplitAfter(ts.ReadFile(args[0]), "\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(slices.Delete(lines, n-1, n), "")), 0o600))
}

// nameofCommand is "nameof VAR DIR TEXT": the name of the authority whose line
// in the list has TEXT in it.
func nameofCommand(ts *testscript.TestScript, _ bool, args []string) {
	code, stdout, stderr := runProgram(ts, []string{"tarn", "-d", args[1], "client", "list-authorities"})
	if code != exitOK {
		ts.Fatalf("list the authorities: %s", stderr)
	}
	for line := range strings.Lines(stdout) {
		if strings.Contains(line, args[2]) {
			ts.Setenv(args[0], strings.Fields(line)[0])
			return
		}
	}
	ts.Fatalf("no line with %s: %s", args[2], stdout)
}
