package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tarn": main})
}

// TestScripts are the commands that need no other node.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup:               homeInWork,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": codeCommand, "mode": modeCommand, "longdir": longdirCommand, "keyof": keyofCommand, "nameof": nameofCommand,
		},
	})
}

func homeInWork(e *testscript.Env) error {
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
}
