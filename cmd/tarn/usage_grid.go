package main

import (
	"context"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/web/control"
)

// runGridUsage shows what the account holds on all servers together.
func runGridUsage(ctx context.Context, e *env, o usageOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	u, err := n.GridUsage(ctx)
	if err != nil {
		return fmt.Errorf("ask for usage: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, u)
	}
	return writeGridUsage(e.stdout, u)
}

// writeGridUsage prints a line for each server with what is below the account
// there as a tree, and the sums.
func writeGridUsage(w io.Writer, u control.GridUsage) error {
	t := newTable(w)
	t.row("SERVER", "ACCOUNT", "STORED", "SHARES", "UPLOADING", "QUOTA", "IN TODAY", "OUT TODAY")
	for _, s := range u.Servers {
		t.row(serverName(s.Server, s.Nickname), keyShort(s.Key), formatSize(s.Bytes), fmt.Sprint(s.Shares), formatSize(s.Reserved), formatQuota(s.Quota), formatSize(s.BytesIn), formatSize(s.BytesOut))
		delegatedRows(t, s.Delegated, "")
	}
	t.row("all", "", formatSize(u.Bytes), fmt.Sprint(u.Shares), formatSize(u.Reserved))
	delegatedRows(t, u.Below, "")
	for _, f := range u.Failed {
		t.row(serverName(f.Server, f.Nickname), "no answer: "+f.Error)
	}
	return t.end()
}
