package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// showsCommand is "shows DIR TEXT [COMMAND]": waits until tarn servers, or
// another command, shows it. The output is then the command's.
func showsCommand(ts *testscript.TestScript, _ bool, args []string) {
	command := []string{"-d", args[0], "servers"}
	if len(args) > 2 {
		command[2] = args[2]
	}
	until(ts, func() bool {
		code, stdout, stderr := runProgram(ts, append([]string{"tarn"}, command...))
		if code != exitOK {
			ts.Fatalf("tarn %s: %s", command[2], stderr)
		}
		return strings.Contains(stdout, args[1])
	})
	ts.Check(ts.Exec("tarn", command...))
}

// swapCommand is "swap FILE ONE OTHER": two texts in a file change places.
func swapCommand(ts *testscript.TestScript, _ bool, args []string) {
	swapped := strings.NewReplacer(args[1], args[2], args[2], args[1]).Replace(ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(swapped), 0o600))
}

// clausesCommand is "clauses DIR TEXT N": waits until so many clauses that the
// node wrote itself have a text.
func clausesCommand(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[2])
	ts.Check(err)
	until(ts, func() bool {
		files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "private", "introducer-*.yaml"))
		ts.Check(err)
		n := 0
		for _, path := range files {
			n += strings.Count(ts.ReadFile(path), args[1])
		}
		return n == want
	})
}

// serverIDCommand is "serverid VAR SERVER": its id, and in VAR_AT its address.
func serverIDCommand(ts *testscript.TestScript, _ bool, args []string) {
	status, err := running(ts, args[1]).control.Status(context.Background())
	ts.Check(err)
	ts.Setenv(args[0], status.Storage.Server)
	ts.Setenv(args[0]+"_AT", status.Storage.Hints[0])
}

// expandCommand is "expand FROM TO": copies a file, with variables replaced.
func expandCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}
