package main

import (
	"context"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// acceptCommand is "accept KEYFILE SERVER...": each server accepts the account
// manager with that public key.
func acceptCommand(ts *testscript.TestScript, _ bool, args []string) {
	key := strings.TrimSpace(ts.ReadFile(args[0]))
	for _, server := range args[1:] {
		mustRun(ts, "-d", server, "server", "add-authorization", "manager", key)
	}
}

// gridServerCommand is "gridserver MANAGER SERVER...": makes running servers
// some of the account manager's grid. The id is left in a variable: S1 for s1.
func gridServerCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args[1:] {
		status, err := running(ts, name).control.Status(context.Background())
		ts.Check(err)
		ts.Setenv(strings.ToUpper(name), status.Storage.Server)
		mustRun(ts, "-d", args[0], "manager", "add-server", status.Storage.Server, name)
	}
}

// metricsCommand is "metrics DIR": prints what Prometheus would read from a
// running node.
func metricsCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(running(ts, args[0]).control.Metrics(context.Background(), ts.Stdout()))
}
