package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tarn-grid/tarn/file"
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
			"code": codeCommand, "mode": modeCommand, "edit": editCommand,
			"web": webCommand, "finished": finishedCommand, "fromlisting": fromlistingCommand,
			"start": startCommand, "end": endCommand, "crash": crashCommand,
			"keyof": keyofCommand, "withoutline": withoutlineCommand, "leave": leaveCommand, "emptyfolder": emptyfolderCommand, "nameof": nameofCommand,
			"bigfile": bigfileCommand, "uploading": uploadingCommand, "emptied": emptiedCommand, "spooling": spoolingCommand, "keepport": keepPortCommand,
			"verifycap": verifyCapCommand, "logins": loginsCommand, "known": knownCommand, "fromfile": fromfileCommand, "join": joinCommand, "account": accountCommand, "accountkey": accountKeyCommand,
			"shows": showsCommand, "swap": swapCommand, "clauses": clausesCommand, "serverid": serverIDCommand, "expand": expandCommand,
			"accept": acceptCommand, "gridserver": gridServerCommand, "metrics": metricsCommand, "renewed": renewedCommand,
			"loseshare": loseshareCommand, "spoilshare": spoilshareCommand, "verifyof": verifyOfCommand, "adopted": adoptedCommand, "connected": connectedCommand,
			"sshkey": sshKeyCommand, "dav": davCommand, "sftp": sftpCommand, "readcap": readCapCommand, "frontends": frontendsCommand,
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

// verifyCapCommand is "verifycap FILE": writes the one verify capability that
// standard output has.
func verifyCapCommand(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if strings.HasPrefix(line, "URI:CHK-Verifier:") {
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(line), 0o600))
			return
		}
	}
	ts.Fatalf("no verify capability in standard output")
}

// verifyOfCommand is "verifyof FILE NEW": the verify capability of one in a file.
func verifyOfCommand(ts *testscript.TestScript, _ bool, args []string) {
	c, err := file.Parse(ts.ReadFile(args[0]))
	ts.Check(err)
	verifier, err := file.Verifier(c)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(verifier.String()+"\n"), 0o600))
}

// loginsCommand is "logins DIR N": waits until the client may store on N
// servers.
func loginsCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(waitForLogins(context.Background(), running(ts, args[0]), n))
}

// connectedCommand is "connected CLIENT N": waits until so many servers can be
// read from.
func connectedCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	client := running(ts, args[0])
	until(ts, func() bool {
		status, err := client.control.Status(context.Background())
		ts.Check(err)
		found := 0
		for _, s := range status.Servers {
			if s.State == "connected" || s.LoggedIn {
				found++
			}
		}
		return found == n
	})
}

// bigfileCommand is "bigfile FILE BYTES".
func bigfileCommand(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), nil, 0o600))
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// uploadingCommand is "uploading SERVER": waits until something is being
// uploaded there; "! uploading SERVER" until nothing is.
func uploadingCommand(ts *testscript.TestScript, negated bool, args []string) {
	server := running(ts, args[0])
	until(ts, func() bool {
		status, err := server.control.Status(context.Background())
		ts.Check(err)
		return (status.Storage.Reserved == 0) == negated
	})
}

// leaveCommand is "leave CLIENT [--cancel]": it leaves the one grid that it is a
// member of.
func leaveCommand(ts *testscript.TestScript, _ bool, args []string) {
	list, err := running(ts, args[0]).control.Memberships(context.Background())
	ts.Check(err)
	if len(list) != 1 {
		ts.Fatalf("%d memberships", len(list))
	}
	ts.Check(ts.Exec("tarn", append([]string{"-d", args[0], "client", "leave", list[0].Manager}, args[1:]...)...))
}

// emptyfolderCommand is "emptyfolder DIR".
func emptyfolderCommand(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s has %v", args[0], entries)
	}
}

// spoolingCommand is "spooling HELPER": waits until a part of a file is there.
func spoolingCommand(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, func() bool {
		parts, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "private", "helper", "spool", "*.part"))
		ts.Check(err)
		return slices.ContainsFunc(parts, func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.Size() >= 4<<20
		})
	})
}

// keepPortCommand is "keepport HELPER": it listens where it did when it ran
// last.
func keepPortCommand(ts *testscript.TestScript, _ bool, args []string) {
	f := folder{ts.MkAbs(args[0])}
	_, address, _ := strings.Cut(strings.TrimSpace(ts.ReadFile(f.helperReference())), "@")
	text := strings.ReplaceAll(ts.ReadFile(f.settings()), "/ip4/127.0.0.1/tcp/0", address)
	ts.Check(os.WriteFile(f.settings(), []byte(text), 0o600))
}

// emptiedCommand is "emptied SERVER": waits until nothing is stored there.
func emptiedCommand(ts *testscript.TestScript, _ bool, args []string) {
	server := running(ts, args[0])
	until(ts, func() bool {
		list, err := server.control.Operator().Usage(context.Background())
		ts.Check(err)
		return !slices.ContainsFunc(list, func(u control.AccountUsage) bool { return u.Bytes > 0 })
	})
}

// loseshareCommand is "loseshare SERVER STORAGE-INDEX": the files of a file's
// shares are gone.
func loseshareCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.RemoveAll(filepath.Join(ts.MkAbs(args[0]), "storage", "shares", args[1][:2], args[1])))
}

// spoilshareCommand is "spoilshare SERVER STORAGE-INDEX": a bit in the middle of
// the files of a file's shares is another one.
func spoilshareCommand(ts *testscript.TestScript, _ bool, args []string) {
	paths, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "storage", "shares", args[1][:2], args[1], "*"))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("%s has no file of %s", args[0], args[1])
	}
	for _, path := range paths {
		share, err := os.ReadFile(path)
		ts.Check(err)
		share[len(share)/2] ^= 1
		ts.Check(os.WriteFile(path, share, 0o600))
	}
}

// adoptedCommand is "adopted SERVER N": waits until so many shares have starter
// leases.
func adoptedCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	server := running(ts, args[0])
	until(ts, func() bool {
		list, err := server.control.Operator().Usage(context.Background())
		ts.Check(err)
		return slices.ContainsFunc(list, func(u control.AccountUsage) bool { return u.Petname == "starter" && u.Shares == n })
	})
}

// until looks again and again.
func until(ts *testscript.TestScript, done func() bool) {
	deadline := time.Now().Add(demoPatience)
	for !done() {
		if time.Now().After(deadline) {
			ts.Fatalf("it did not come in %v", demoPatience)
		}
	}
}

// fromfileCommand is "fromfile VAR FILE": the only line of a file.
func fromfileCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// knownCommand is "known DIR N": waits until the client has written down N
// servers.
func knownCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	w, err := running(ts, args[0]).folder.wallet()
	ts.Check(err)
	until(ts, func() bool { return len(w.ServerIDs()) == n })
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
	mustRun(ts, "-d", args[0], "server", "add-account", "--quota", args[3], args[2], keyAt(ts, args[0], args[1]))
}

// accountKeyCommand is "accountkey VAR SERVER CLIENT": the key that the client
// has there.
func accountKeyCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], keyAt(ts, args[1], args[2]))
}

func keyAt(ts *testscript.TestScript, server, client string) string {
	status, err := running(ts, server).control.Status(context.Background())
	ts.Check(err)
	return mustRun(ts, "-d", client, "client", "account-key", status.Storage.Server)
}

// mustRun runs a tarn command that must go well.
func mustRun(ts *testscript.TestScript, args ...string) string {
	code, stdout, stderr := runProgram(ts, append([]string{"tarn"}, args...))
	if code != exitOK {
		ts.Fatalf("tarn %s: %d, %s", strings.Join(args, " "), code, stderr)
	}
	return strings.TrimSpace(stdout)
}
