package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

type usageOptions struct{ json bool }

// usage is what `tarn usage --json` prints: what the node's client holds at
// servers, and what accounts hold at the node's own server.
type usage struct {
	Own      *control.OwnUsage      `json:"own,omitempty"`
	Accounts []control.AccountUsage `json:"accounts,omitempty"`
}

func newUsage(e *env) *cobra.Command {
	var o usageOptions
	c := &cobra.Command{
		Use:   "usage",
		Short: "Show which account holds how much on which server",
		Long: `Shows what this node's account holds on every server that answers and, if the
node is a storage server, what every account holds on it. For the latter no
node need run.`,
		Example: "  tarn usage\n  tarn usage --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runUsage(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runUsage(ctx context.Context, e *env, o usageOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	u, err := f.usage(ctx, n)
	if err != nil {
		return fmt.Errorf("ask for usage: %w", err)
	}
	if o.json {
		return writeJSON(e.stdout, u)
	}
	if u.Own == nil && len(u.Accounts) == 0 {
		e.note("No accounts yet. Add one with: tarn server add-account NAME")
	}
	return writeUsage(e.stdout, u)
}

// usage asks the running node for both; what it is not, is left out.
func (f folder) usage(ctx context.Context, n *control.Client) (usage, error) {
	var u usage
	own, err := n.OwnUsage(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		u.Accounts, err = f.offlineUsage(ctx)
		return u, err
	case err == nil:
		u.Own = &own
	case !errors.Is(err, tarn.ErrNoClient):
		return u, err
	}
	u.Accounts, err = n.OperatorUsage(ctx)
	if errors.Is(err, tarn.ErrNoStorage) && u.Own != nil {
		err = nil
	}
	return u, err
}

// offlineUsage reads the lease table of a node that does not run.
func (f folder) offlineUsage(ctx context.Context) ([]control.AccountUsage, error) {
	operator, err := f.operator(ctx)
	if err != nil {
		return nil, err
	}
	list, err := operator.Usage(ctx)
	return control.UsageOf(list), errors.Join(err, operator.Close())
}

// operator opens the storage server of a node that does not run.
func (f folder) operator(ctx context.Context) (*tarn.OfflineOperator, error) {
	n, err := f.load(nil)
	if err != nil {
		return nil, err
	}
	if n.config.Storage == nil {
		return nil, notRunningError(f)
	}
	return tarn.OpenOperator(ctx, n.config)
}

func writeUsage(w io.Writer, u usage) error {
	t := newTable(w)
	if u.Own != nil {
		t.row("SERVER", "NICKNAME", "ACCOUNT", "STORED", "SHARES", "UPLOADING", "QUOTA")
		slices.SortFunc(u.Own.Accounts, func(a, b control.AccountUsage) int {
			return cmp.Or(strings.Compare(a.Nickname, b.Nickname), strings.Compare(a.Server, b.Server))
		})
		for _, a := range u.Own.Accounts {
			t.row(short(a.Server), a.Nickname, keyShort(a.Key), formatSize(a.Bytes), fmt.Sprint(a.Shares), formatSize(a.Reserved), formatQuota(a.Quota))
		}
		for _, f := range u.Own.Failed {
			t.row(short(f.Server), f.Nickname, "no answer: "+f.Error)
		}
	}
	if u.Accounts != nil {
		slices.SortFunc(u.Accounts, func(a, b control.AccountUsage) int { return strings.Compare(a.Petname, b.Petname) })
		t.row("ACCOUNT", "KEY", "STORED", "SHARES", "UPLOADING", "QUOTA", "IN TODAY", "OUT TODAY")
		for _, a := range u.Accounts {
			t.row(a.Petname, keyShort(a.Key), formatSize(a.Bytes), fmt.Sprint(a.Shares), formatSize(a.Reserved), formatQuota(a.Quota), formatSize(a.BytesIn), formatSize(a.BytesOut))
		}
	}
	return t.end()
}

// keyShort is pub-v0-abcdefgh.
func keyShort(key string) string {
	const enough = len("pub-v0-") + 8
	return key[:min(len(key), enough)]
}
