package main

import (
	"context"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tarn-grid/tarn/web/control"
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

// renewedCommand is "renewed RENEWER NAME": waits until all of what it renews for
// someone was gone through once.
func renewedCommand(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, func() bool {
		list, err := running(ts, args[0]).control.Renewals(context.Background())
		ts.Check(err)
		i := slices.IndexFunc(list, func(r control.Renewed) bool { return r.Name == args[1] })
		if i < 0 {
			ts.Fatalf("nothing is renewed for %s", args[1])
		}
		return !slices.ContainsFunc(list[i].Servers, func(s control.ServerLeases) bool { return s.Checked.IsZero() })
	})
}
