package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

type usageOptions struct {
	json, traffic, grid bool
	days                int
	authority           string // file, - or empty for the node's own
}

// usage is what `tarn usage --json` prints: what the node's client holds at
// servers, and what accounts hold at the node's own server, by key and by
// petname.
type usage struct {
	Own      *control.OwnUsage      `json:"own,omitempty"`
	Accounts []control.AccountUsage `json:"accounts,omitempty"`
	Petnames []petnameUsage         `json:"petnames,omitempty"`
}

// petnameUsage is the sum over all keys of a petname. The quota is null where
// one of them has none.
type petnameUsage struct {
	Petname  string `json:"petname"`
	Keys     int    `json:"keys"`
	Bytes    int64  `json:"bytes"`
	Shares   int64  `json:"shares"`
	Reserved int64  `json:"reserved"`
	Quota    *int64 `json:"quota"`
	BytesIn  int64  `json:"bytes_in_today"`
	BytesOut int64  `json:"bytes_out_today"`

	accounts []control.AccountUsage
}

// trafficKept is how many days of traffic a server keeps.
const trafficKept = 366

// maxTrafficIndent ends a tree of keys that signed for each other.
const maxTrafficIndent = 2 * lease.MaxCertificates

func newUsage(e *env) *cobra.Command {
	var o usageOptions
	c := &cobra.Command{
		Use:   "usage",
		Short: "Show which account holds how much on which server",
		Long: `Shows what this node's account holds on every server that answers and, if the
node is a storage server, what every account holds on it: several keys under one
petname are summed, and below an account stands what it delegated to others,
which is part of what it holds and moved. --traffic shows what each account moved
in and out, by UTC day; a year of it is kept. For what accounts hold and moved no
node need run.

--grid sums up what this node's account holds on all servers, names those that
do not answer, and shows below the account what those hold to whom it delegated.`,
		Example: "  tarn usage\n  tarn usage --json\n  tarn usage --grid\n  tarn usage --traffic --days 7",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runUsage(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	c.Flags().BoolVar(&o.traffic, "traffic", false, "what accounts of the node's own server moved, by day")
	c.Flags().IntVar(&o.days, "days", 30, "how many days of traffic, with --traffic")
	registerAuthority(c, &o.authority)
	c.Flags().BoolVar(&o.grid, "grid", false, "sum up all servers")
	c.MarkFlagsMutuallyExclusive("grid", "traffic")
	return c
}

func runUsage(ctx context.Context, e *env, o usageOptions) error {
	if o.traffic {
		return runTraffic(ctx, e, o)
	}
	if o.grid {
		return runGridUsage(ctx, e, o)
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	u, err := f.usage(ctx, n)
	if err != nil {
		return fmt.Errorf("ask for usage: %w", err)
	}
	u.sum()
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
		operator, err := f.offlineOperator(ctx)
		if err != nil {
			return u, err
		}
		u.Accounts, err = control.OperatorOf(operator).Usage(ctx)
		return u, errors.Join(err, operator.Close())
	case err == nil:
		u.Own = &own
	case !errors.Is(err, tarn.ErrNoClient):
		return u, err
	}
	u.Accounts, err = n.Operator().Usage(ctx)
	if errors.Is(err, tarn.ErrNoStorage) && u.Own != nil {
		err = nil
	}
	return u, err
}

// sum puts keys of one petname together, in the order of the names; a key
// without one stands for itself, at the end.
func (u *usage) sum() {
	sortAccounts(u.Accounts, func(a control.AccountUsage) (string, string) { return a.Petname, a.Key })
	for _, a := range u.Accounts {
		last := len(u.Petnames) - 1
		if last < 0 || a.Petname == "" || u.Petnames[last].Petname != a.Petname {
			u.Petnames = append(u.Petnames, petnameUsage{Petname: a.Petname, Quota: new(int64(0))})
			last++
		}
		u.Petnames[last].add(a)
	}
}

func (p *petnameUsage) add(a control.AccountUsage) {
	p.accounts = append(p.accounts, a)
	p.Keys++
	p.Bytes += a.Bytes
	p.Shares += a.Shares
	p.Reserved += a.Reserved
	p.BytesIn += a.BytesIn
	p.BytesOut += a.BytesOut
	if a.Quota == nil || p.Quota == nil {
		p.Quota = nil
	} else {
		*p.Quota += *a.Quota
	}
}

// sortAccounts orders by petname, then key; what has no petname comes last.
func sortAccounts[A any](list []A, names func(A) (petname, key string)) {
	slices.SortFunc(list, func(a, b A) int {
		pa, ka := names(a)
		pb, kb := names(b)
		if (pa == "") != (pb == "") {
			return cmp.Compare(len(pb), len(pa))
		}
		return cmp.Or(strings.Compare(pa, pb), strings.Compare(ka, kb))
	})
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
		t.row("ACCOUNT", "KEY", "STORED", "SHARES", "UPLOADING", "QUOTA", "IN TODAY", "OUT TODAY")
		for _, p := range u.Petnames {
			p.write(t)
		}
	}
	return t.end()
}

// write makes one line of a petname with one key, and else a line for the sum
// and one for each key below it.
func (p petnameUsage) write(t table) {
	if p.Keys == 1 {
		accountRow(t, "", p.accounts[0])
		return
	}
	t.row(p.Petname, fmt.Sprintf("%d keys", p.Keys), formatSize(p.Bytes), fmt.Sprint(p.Shares), formatSize(p.Reserved),
		formatQuota(p.Quota), formatSize(p.BytesIn), formatSize(p.BytesOut))
	for _, a := range p.accounts {
		accountRow(t, "  ", a)
	}
}

func accountRow(t table, indent string, a control.AccountUsage) {
	quota := formatQuota(a.Quota)
	switch {
	case a.Removed && a.Key != "":
		quota = "removed"
	case a.Removed:
		quota = "-"
	case a.Disabled:
		quota = "disabled"
	}
	t.line(indent+cmp.Or(a.Petname, "-"), cmp.Or(keyShort(a.Key), "-"), formatSize(a.Bytes), fmt.Sprint(a.Shares), formatSize(a.Reserved), quota, formatSize(a.BytesIn), formatSize(a.BytesOut))
	delegatedRows(t, a.Delegated, "")
	if a.More {
		t.line("  … and more than are listed", "", "", "", "", "", "", "")
	}
}

// delegatedRows draws the tree below an account.
func delegatedRows(t table, list []control.DelegatedUsage, indent string) {
	for i, d := range list {
		branch, below := "├ ", "│ "
		if i == len(list)-1 {
			branch, below = "└ ", "  "
		}
		t.line("  "+indent+branch+cmp.Or(d.Petname, "delegate"), keyShort(d.Key), formatSize(d.Bytes), fmt.Sprint(d.Shares), formatSize(d.Reserved), "-", formatSize(d.BytesIn), formatSize(d.BytesOut))
		delegatedRows(t, d.Delegated, indent+below)
	}
}

func runTraffic(ctx context.Context, e *env, o usageOptions) error {
	if o.days < 1 || o.days > trafficKept {
		return usageError{err: fmt.Errorf("--days %d: want 1 to %d", o.days, trafficKept), command: "tarn usage"}
	}
	since := time.Now().AddDate(0, 0, 1-o.days)
	return e.asOperator(ctx, func(operator control.Operator) error {
		list, err := operator.Traffic(ctx, since)
		if err != nil {
			return fmt.Errorf("ask for traffic: %w", err)
		}
		if o.json {
			return writeJSON(e.stdout, list)
		}
		t := newTable(e.stdout)
		t.row("DAY", "ACCOUNT", "KEY", "IN", "OUT")
		for _, day := range byDay(list) {
			trafficRows(t, day, "", "")
		}
		return t.end()
	})
}

// byDay parts a list that is in the order of days.
func byDay(list []control.AccountTraffic) (days [][]control.AccountTraffic) {
	for i, l := range list {
		if i == 0 || l.Day != list[i-1].Day {
			days = append(days, nil)
		}
		days[len(days)-1] = append(days[len(days)-1], l)
	}
	return days
}

// trafficRows draws those of a day whose line is a part of the signer's, none
// for accounts, and below each what is a part of that.
func trafficRows(t table, day []control.AccountTraffic, signer, indent string) {
	for _, l := range day {
		if l.Signer != signer || len(indent) > maxTrafficIndent {
			continue
		}
		name := l.Petname
		if signer != "" {
			name = indent + "└ " + cmp.Or(l.Petname, "delegate")
		}
		t.line(l.Day, name, keyShort(l.Key), formatSize(l.BytesIn), formatSize(l.BytesOut))
		if l.Key != "" && l.Key != signer {
			trafficRows(t, day, l.Key, indent+"  ")
		}
	}
}

// keyShort is pub-v0-abcdefgh.
func keyShort(key string) string {
	const enough = len("pub-v0-") + 8
	return key[:min(len(key), enough)]
}
