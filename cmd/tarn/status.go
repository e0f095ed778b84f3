package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

type statusOptions struct{ json bool }

func newStatus(e *env) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the running node is connected to",
		Long: `Shows the running node, the introducers and storage servers that it knows, and
why it is not connected to those it is not connected to. Connections under an
authority that came with a request (tarn put --authority) are shown as lent, for
the minutes that they stay.`,
		Example: "  tarn status\n  tarn status --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runStatus(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runStatus(ctx context.Context, e *env, o statusOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	status, err := n.Status(ctx)
	if err != nil {
		return f.explain(err)
	}
	if o.json {
		return writeJSON(e.stdout, status)
	}
	return writeStatus(e.stdout, status)
}

func writeJSON(w io.Writer, object any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(object)
}

func writeStatus(w io.Writer, s control.Status) error {
	if _, err := io.WriteString(w, statusHead(s)); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	t := newTable(w)
	for _, i := range s.Introducers {
		state := "not connected"
		if i.Connected {
			state = "connected"
		}
		t.row("introducer", referenceShort(i.Reference), "", state, clock(i.Since), i.LastError)
	}
	sortForPeople(s.Servers)
	for _, v := range s.Servers {
		t.row("server", short(v.Server), v.Name(), v.State, clock(v.Since), serverRemark(v))
	}
	sortForPeople(s.Lent)
	for _, v := range s.Lent {
		t.row("lent", short(v.Server), v.Name(), v.State, clock(v.Since), lentRemark(v))
	}
	return t.end()
}

// sortForPeople gives servers the same order each time, by name.
func sortForPeople(servers []control.ServerStatus) {
	slices.SortFunc(servers, byName)
}

func byName(a, b control.ServerStatus) int {
	return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.Server, b.Server), strings.Compare(a.Account, b.Account))
}

// statusHead is what the node is.
func statusHead(s control.Status) string {
	text := fmt.Sprintf("Node %s, version %s, running since %s\n", orUnnamed(s.Nickname), s.Version, clock(s.Started))
	if s.Introducer != "" {
		text += fmt.Sprintf("Introducer: %s\n", s.Introducer)
	}
	if s.Leases != nil && s.Leases.Lapsed > 0 {
		text += fmt.Sprintf("Lapsed: %s of %d. Which files they are of, and what is left: tarn leases\n", counted(s.Leases.Lapsed, "lease"), s.Leases.Leases)
	}
	if len(s.Mistakes) > 0 {
		text += fmt.Sprintf("private/servers.yaml has %s: tarn servers\n", counted(int64(len(s.Mistakes)), "mistake"))
	}
	if s.Storage != nil {
		text += fmt.Sprintf("Storage server %s: %d accounts, %d sessions, %s free, %s being uploaded\n",
			short(s.Storage.Server), s.Storage.Accounts, s.Storage.Sessions, formatSize(s.Storage.Free), formatSize(s.Storage.Reserved))
		text += reachedHead(s.Storage.Hints)
	}
	for _, o := range s.Onions {
		text += onionHead(o)
	}
	if s.Manager != nil {
		text += fmt.Sprintf("Account manager %s: %d members, %d sessions\n", s.Manager.Key, s.Manager.Members, s.Manager.Sessions)
	}
	if s.Relay != nil {
		text += relayHead(s.Relay)
	}
	if h := s.Helper; h != nil {
		text += fmt.Sprintf("Helper: %s\n%d files under way, %d sessions, %s of %s taken by ciphertext\n",
			h.Reference, h.Jobs, h.Sessions, formatSize(h.Spooled), formatSize(h.Space))
	}
	if r := s.Renewer; r != nil {
		text += fmt.Sprintf("Renewer %s: %d of %s, %s, %d lapsed. For whom: tarn renewer list\n",
			r.Key, r.Caps, counted(int64(r.Most), "renewal cap"), counted(r.Leases, "lease"), r.Lapsed)
	}
	if r := s.Repairer; r != nil {
		text += fmt.Sprintf("Repairer %s: %d of %s, %d not whole. For whom: tarn repairer list\n",
			r.Key, r.Files, counted(int64(r.Most), "file"), r.Unhealthy)
	}
	return text
}

// onionHead is an onion service of the node's own.
func onionHead(o control.OnionStatus) string {
	if o.Up {
		return fmt.Sprintf("Onion service (%s): up since %s, %s\n", o.Role, clock(o.Since), o.Address)
	}
	return fmt.Sprintf("Onion service (%s): not up since %s, %s: %s\n", o.Role, clock(o.Since), o.Address, o.LastError)
}

// reachedHead says something of a server that is not simply dialled.
func reachedHead(addresses []string) string {
	if len(addresses) == 0 {
		return "Nobody reaches it yet: it has no slot on a relay\n"
	}
	for _, a := range addresses {
		if strings.HasSuffix(a, "/p2p-circuit") {
			return fmt.Sprintf("Reached through a relay: %s\n", a)
		}
	}
	return ""
}

// relayHead is what the node's relay does.
func relayHead(r *control.RelayStatus) string {
	text := fmt.Sprintf("Relay: %s\n%s, %s, %s passed on, %d refused\n",
		r.Reference, counted(int64(len(r.Slots)), "slot"), counted(int64(len(r.Circuits)), "circuit"), formatSize(int64(r.Bytes)), r.Refused)
	for _, s := range r.Slots {
		text += fmt.Sprintf("  slot of %s until %s: %s, %s\n", short(s.Server), clock(s.Until), counted(int64(s.Circuits), "circuit"), formatSize(int64(s.Bytes)))
	}
	return text
}

// serverRemark is where a server is and how it is reached, and what it has for
// us or against us.
func serverRemark(v control.ServerStatus) string {
	remark := v.Address
	if v.Path != "" && v.Path != "direct" {
		remark = v.Path + " " + remark
	}
	if v.LoggedIn {
		remark += ", room for " + formatSize(v.Room)
	}
	if v.Stale {
		remark += ", stale: known from before"
	}
	if v.LastError != "" {
		remark += ": " + v.LastError
	}
	remark = strings.TrimPrefix(remark, ", ")
	return strings.TrimPrefix(remark, ": ")
}

// lentRemark names the key, too: there may be several authorities.
func lentRemark(v control.ServerStatus) string {
	key := "without a key"
	if v.Account != "" {
		key = "under " + keyShort(v.Account)
	}
	return strings.TrimSuffix(key+", "+serverRemark(v), ", ")
}

func orUnnamed(name string) string {
	if name == "" {
		return "(unnamed)"
	}
	return name
}

// clock is a time for people, in their zone.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// short is enough of an id to tell it from others: v0-abcdefgh.
func short(id string) string {
	const enough = len("v0-") + 8
	return id[:min(len(id), enough)]
}

func referenceShort(reference string) string {
	const prefix = len("tarn:introducer/")
	return short(reference[min(len(reference), prefix):])
}

// table is columns of text.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// row adds a line, whatever the cells have in them; what goes wrong in writing
// shows at the end.
func (t table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.Join(strings.Fields(cell), " ")
		if cells[i] == "" {
			cells[i] = "-"
		}
	}
	t.line(cells...)
}

// line adds a line of cells that are known to have no line breaks in them.
func (t table) line(cells ...string) {
	_, _ = io.WriteString(t.w, strings.Join(cells, "\t")+"\n")
}

func (t table) end() error { return t.w.Flush() }
