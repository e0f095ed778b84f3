package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tarn-grid/tarn/web/control"
)

// TestGrid runs scripts with nodes in processes of their own, on loopback. The
// program is built for it, as a node that starts others must find itself.
func TestGrid(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "tarn"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "grid"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Values[nodesKey{}] = map[string]*process{}
			return homeInWork(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": codeCommand, "mode": modeCommand,
			"start": startCommand, "end": endCommand, "crash": crashCommand,
			"keyof": keyofCommand, "nameof": nameofCommand,
			"logins": loginsCommand, "join": joinCommand, "account": accountCommand,
		},
	})
}

type nodesKey struct{}

func nodes(ts *testscript.TestScript) map[string]*process {
	return ts.Value(nodesKey{}).(map[string]*process)
}

func running(ts *testscript.TestScript, name string) *process {
	p := nodes(ts)[name]
	if p == nil {
		ts.Fatalf("%s does not run", name)
	}
	return p
}

// startCommand is "start DIR...": runs nodes and waits until they are ready.
func startCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		f := folder{ts.MkAbs(name)}
		p := &process{name: name, folder: f, control: control.NewClient(f.socket())}
		nodes(ts)[name] = p
		ts.Defer(func() { _ = p.stop() }) // scripts that care say end themselves
		ts.Check(p.start(context.Background(), filepath.Join(programDir(ts), "tarn")))
	}
}

// endCommand is "end DIR...": each must end cleanly.
func endCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Check(running(ts, name).stop())
	}
}

// crashCommand is "crash DIR...": without a chance to tidy up.
func crashCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		p := running(ts, name)
		ts.Check(p.command.Process.Signal(syscall.SIGKILL))
		<-p.ended
	}
}

// loginsCommand is "logins DIR N": waits until the client may store on N
// servers.
func loginsCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(waitForLogins(context.Background(), running(ts, args[0]), n))
}

// joinCommand is "join VAR DIR": the reference of a running introducer.
func joinCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(filepath.Join(args[1], "private", "introducer.ref"))))
}

// accountCommand is "account SERVER CLIENT [NAME QUOTA]": what operator and
// owner do between them.
func accountCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 2 {
		args = append(args, "alice", "5GB")
	}
	server := running(ts, args[0])
	status, err := server.control.Status(context.Background())
	ts.Check(err)
	tarn := func(args ...string) string {
		code, stdout, stderr := runProgram(ts, append([]string{"tarn"}, args...))
		if code != exitOK {
			ts.Fatalf("tarn %s: %d, %s", strings.Join(args, " "), code, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	key := tarn("-d", args[1], "client", "account-key", status.Storage.Server)
	tarn("-d", args[0], "server", "add-account", "--quota", args[3], args[2], key)
}
