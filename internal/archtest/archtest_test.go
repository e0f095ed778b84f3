package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheModuleKeepsItsRules(t *testing.T) {
	all, err := Check("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		t.Error(v)
	}
}

// write makes a module of the given files, each starting with its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// source is a documented package that imports and does things.
func source(name, body string, imports ...string) string {
	text := "// Package " + name + " is a fixture.\npackage " + name + "\n"
	for _, im := range imports {
		text += "import " + im + "\n"
	}
	return text + body + "\n"
}

func TestEachRuleFindsWhatBreaksIt(t *testing.T) {
	const m = `"example.org/m`
	for _, c := range []struct{ name, file, text, want string }{
		{"grid stands alone", "grid/a.go", source("grid", "", m+`/lease"`), "imports lease"},
		{"grid uses std", "grid/a.go", source("grid", "", `"github.com/x/y"`), "imports github.com/x/y"},
		{"lease knows no file", "lease/a.go", source("lease", "", m+`/file"`), "imports file"},
		{"file knows no lease", "file/immutable/a.go", source("immutable", "", m+`/lease"`), "imports lease"},
		{"wire knows no transport", "transport/wire/a.go", source("wire", "", m+`/transport"`), "imports transport"},
		{"transport knows no actor", "transport/a.go", source("transport", "", m+`/actors/client"`), "imports actors/client"},
		{"transport knows no p2p", "transport/a.go", source("transport", "", m+`/transport/p2p"`), "imports transport/p2p"},
		{"actors know no store", "actors/server/a.go", source("server", "", m+`/lease/store"`), "imports lease/store"},
		{"actors know no facade", "actors/client/a.go", source("client", "", m+`"`), "imports ."},
		{"env knows no actor", "actors/env/a.go", source("env", "", m+`/actors/client"`), "imports actors/client"},
		{"web passes the facade", "web/a.go", source("web", "", m+`/actors/client"`), "imports actors/client"},
		{"web passes the facade to the network", "web/sftp/a.go", source("sftp", "", m+`/transport"`), "imports transport"},
		{"web passes the facade to the disk", "web/dav/a.go", source("dav", "", m+`/lease/store"`), "imports lease/store"},
		{"web knows no wire", "web/tree/a.go", source("tree", "", m+`/transport/wire"`), "imports transport/wire"},
		{"cmd passes the facade", "cmd/tarn/a.go", source("main", "", m+`/actors/server"`), "imports actors/server"},
		{"cmd passes the facade to the network", "cmd/tarn/a.go", source("main", "", m+`/transport/p2p"`), "imports transport/p2p"},
		{"cmd passes the facade to the disk", "cmd/tarn/a.go", source("main", "", m+`/lease/store"`), "imports lease/store"},
		{"the facade is below web", "a.go", source("m", "", m+`/web"`), "imports web"},
		{"cmd is the top", "web/a.go", source("web", "", m+`/cmd/tarn"`), "imports cmd/tarn"},
		{"tests stay tests", "actors/a.go", source("actors", "", m+`/integration/sim"`), "imports integration/sim"},
		{"new rooms", "shop/a.go", source("shop", ""), "folder shop is no room"},
		{"Pebble", "lease/a.go", source("lease", "", `"github.com/cockroachdb/pebble/v2"`), "imports github.com/cockroachdb/pebble/v2"},
		{"libp2p", "a.go", source("m", "", `"github.com/libp2p/go-libp2p/core/peer"`), "imports github.com/libp2p"},
		{"protoactor", "a.go", source("m", "", `"github.com/asynkron/protoactor-go/actor"`), "imports github.com/asynkron"},
		{"protoactor remote", "actors/a.go", source("actors", "", `"github.com/asynkron/protoactor-go/remote"`), "imports github.com/asynkron"},
		{"pure: network", "file/a.go", source("file", "", `"net"`), "imports net"},
		{"pure: disk", "lease/a.go", source("lease", "", `"os"`), "imports os"},
		{"pure: log", "grid/a.go", source("grid", "", `"log/slog"`), "imports log/slog"},
		{"pure: randomness", "lease/a.go", source("lease", "", `"crypto/rand"`), "imports crypto/rand"},
		{"pure: clock", "lease/a.go", source("lease", "var t = time.Now()", `"time"`), "uses time.Now"},
		{"pure: renamed clock", "lease/a.go", source("lease", "var t = x.Since", `x "time"`), "uses x.Since"},
		{"pure: goroutine", "file/a.go", source("file", "func f() { go f() }"), "starts a goroutine"},
		{"pure: waiting", "lease/a.go", source("lease", "var m sync.WaitGroup", `"sync"`), "uses sync.WaitGroup"},
		{"actors: clock", "actors/client/a.go", source("client", "func f() { time.Sleep(1) }", `"time"`), "uses time.Sleep"},
		{"actors: goroutine", "actors/client/a.go", source("client", "func f() { go f() }"), "starts a goroutine"},
		{"actors: global log", "actors/client/a.go", source("client", "func f() { slog.Info(``) }", `"log/slog"`), "uses slog.Info"},
		{"actors: shared state", "actors/client/a.go", source("client", "", `"sync"`), "imports sync"},
		{"actors: spawning", "actors/client/a.go", source("client", "func f(c C) { c.SpawnNamed(nil, ``) }"), "calls SpawnNamed"},
		{"actors: futures", "actors/client/a.go", source("client", "func f(c C) { c.RequestFuture() }"), "calls RequestFuture"},
		{"package comment", "file/a.go", "package file\n", "no comment that begins with its name"},
		{"package comment names it", "file/a.go", "// Holds files.\npackage file\n", "no comment that begins with its name"},
		{"empty names", "web/util/a.go", source("util", ""), "package util"},
		{"skipped tests", "file/a_test.go", "package file\nfunc f(t T) { t.Skip() }\n", "uses t.Skip"},
		{"fuzzing from nothing", "file/a_test.go", "package file\nfunc FuzzX(f *F) { f.Fuzz(nil) }\n", "FuzzX has no seeds"},
		{"tests that sleep", "file/a_test.go", "package file\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "uses time.Sleep"},
	} {
		root := write(t, map[string]string{"go.mod": "module example.org/m\n", c.file: c.text})
		all, err := Check(root)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		found := slices.ContainsFunc(all, func(v Violation) bool {
			return strings.Contains(v.What, c.want) && v.Reason != "" && strings.HasPrefix(v.Place, c.file+":")
		})
		if !found {
			t.Errorf("%s: not found; got %v", c.name, all)
		}
	}
}

// What the architecture allows must pass, or the rules get switched off.
func TestGoodModulePasses(t *testing.T) {
	const m = `"example.org/m`
	root := write(t, map[string]string{
		"go.mod":                    "module example.org/m\n",
		"a.go":                      source("m", "", m+`/actors/client"`, m+`/lease/store"`, m+`/transport/p2p"`, m+`/actors/env"`),
		"grid/a.go":                 source("grid", "", `"crypto/ed25519"`),
		"lease/a.go":                source("lease", "func f(now time.Time) {}", m+`/grid"`, `"time"`, `"github.com/fxamacker/cbor/v2"`),
		"lease/store/a.go":          source("store", "func f() { go f() }", m+`/lease"`, `"github.com/cockroachdb/pebble/v2/vfs"`, `"os"`, `"sync"`),
		"lease/a_test.go":           "package lease\nimport \"os\"\nimport " + m + "/lease/store\"\n",
		"file/immutable/a.go":       source("immutable", "var p sync.Pool", m+`/file/hashtree"`, m+`/grid"`, `"sync"`),
		"grid/a_test.go":            "package grid\nfunc FuzzX(f *F) { f.Add(1); f.Fuzz(nil) }\nfunc FuzzY(f *F) { seed(f); f.Fuzz(nil) }\n",
		"web/a_test.go":             "package web\nimport \"time\"\nimport \"testing/synctest\"\nfunc f() { time.Sleep(1) }\n",
		"transport/wire/a.go":       source("wire", "", m+`/lease"`),
		"transport/fake/a.go":       source("fake", "var m sync.Mutex", m+`/transport"`, m+`/transport/wire"`, `"sync"`),
		"transport/p2p/a.go":        source("p2p", "", m+`/transport"`, `"github.com/libp2p/go-libp2p/core/peer"`),
		"actors/client/a.go":        source("client", "var l *slog.Logger", m+`/actors/env"`, m+`/file/immutable"`, m+`/transport/wire"`, `"log/slog"`, `"github.com/asynkron/protoactor-go/actor"`),
		"actors/env/a.go":           source("env", "func f() { go f(); time.Now() }", `"time"`, `"github.com/asynkron/protoactor-go/actor"`),
		"web/a.go":                  source("web", "", m+`"`, m+`/grid"`, `"net/http"`),
		"cmd/tarn/a.go":             "// tarn is the one command.\npackage main\nimport " + m + "/web\"\n",
		"integration/sim/a.go":      source("sim", "", m+`/actors/server"`, m+`/transport/fake"`, `"github.com/asynkron/protoactor-go/actor"`),
		"tools/go.mod":              "module example.org/m/tools\n",
		"tools/a.go":                "package tools\nimport " + m + "/lease/store\"\n",
		"file/testdata/util/bad.go": "package util\n",
	})
	all, err := Check(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		t.Error(v)
	}
}

func TestCheckNeedsAModule(t *testing.T) {
	if _, err := Check(t.TempDir()); err == nil {
		t.Error("a folder without go.mod was checked")
	}
	if _, err := Check(write(t, map[string]string{"go.mod": "go 1.26\n"})); err == nil {
		t.Error("a go.mod without a module was taken")
	}
}
