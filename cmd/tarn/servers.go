package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

type serversOptions struct{ json bool }

func newServers(e *env) *cobra.Command {
	var o serversOptions
	c := &cobra.Command{
		Use:   "servers",
		Short: "Show which servers are known from where, and how each is reached",
		Long: `Shows for each storage server which introducers announce it, its addresses, how
each kind of address is dialled, and whether it is connected. What is marked with
an asterisk private/servers.yaml says.

In that file you say of single servers how they are to be reached. It has a clause
for each, as the node's own private/introducer-*.yaml have: copy one and change it,
or write what you want to change. A clause adds a server that no introducer knows,
if it has addresses; with ignore: true the server is not used.

    v0-...:
      local:
        connections: {tcp: direct}
        petname: cellar
      announcement:
        addresses: [/ip4/192.168.1.5/tcp/3457]

A kind of address is dialled direct, tor or disabled; the kinds are tcp, quic,
onion and relay. Under anonymous: true, direct counts only with addresses in the
same clause. A running node notices a change within seconds. A mistake is shown
here with its line, and costs the clause that it is in: what was good of it before
stays in force. No node need run.`,
		Example: "  tarn servers\n  tarn servers --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runServers(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runServers(ctx context.Context, e *env, o serversOptions) error {
	servers, err := e.servers(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(e.stdout, servers)
	}
	return e.print("%s", serversText(servers))
}

// servers asks the node, or reads its files if it does not run.
func (e *env) servers(ctx context.Context) (control.Servers, error) {
	n, f, err := e.node()
	if err != nil {
		return control.Servers{}, err
	}
	defer n.Close()
	running, err := n.Running(ctx)
	if err != nil {
		return control.Servers{}, err
	}
	if running {
		return n.Servers(ctx)
	}
	stopped, err := f.load(nil)
	if err != nil {
		return control.Servers{}, err
	}
	known, err := tarn.ReadServers(stopped.config)
	return control.ServersOf(known), err
}

func serversText(s control.Servers) string {
	var b strings.Builder
	for _, m := range s.Mistakes {
		fmt.Fprintf(&b, "%s%s: %s\n", s.File, lineText(m.Line), m.Reason)
	}
	slices.SortFunc(s.Servers, func(x, y control.KnownServer) int { return byName(x.ServerStatus, y.ServerStatus) })
	for _, v := range s.Servers {
		b.WriteString(knownServerText(v))
	}
	return b.String()
}

func lineText(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(", line %d", line)
}

func knownServerText(v control.KnownServer) string {
	var b strings.Builder
	fmt.Fprintln(&b, v.Server)
	line := func(name, value string) {
		if value = strings.Join(strings.Fields(value), " "); value != "" {
			fmt.Fprintf(&b, "    %-10s %s\n", name, value)
		}
	}
	line("name", bothNames(v))
	line("state", stateText(v))
	line("from", sourcesText(v))
	line("addresses", starred(v, "addresses", strings.Join(v.Addresses, " ")))
	line("dialled", dialledText(v))
	if !v.Ignored {
		line("error", v.LastError)
	}
	return b.String()
}

// starred marks what the owner's file says.
func starred(v control.KnownServer, setting, text string) string {
	if slices.Contains(v.Own, setting) {
		return text + " *"
	}
	return text
}

func bothNames(v control.KnownServer) string {
	nickname := starred(v, "nickname", v.Nickname)
	switch {
	case v.Petname == "":
		return nickname
	case v.Nickname == "":
		return v.Petname + " *"
	}
	return fmt.Sprintf("%s * (calls itself %s)", v.Petname, nickname)
}

func stateText(v control.KnownServer) string {
	switch {
	case v.Ignored:
		return "ignored *"
	case v.State == "":
		return "the node does not run"
	case v.Address != "":
		return fmt.Sprintf("%s at %s", v.State, v.Address)
	}
	return v.State
}

func sourcesText(v control.KnownServer) string {
	var from []string
	for _, in := range v.Introducers {
		from = append(from, fmt.Sprintf("introducer %d (%s, %s)", in.Number, short(in.Introducer), clock(in.Heard)))
	}
	if len(v.Own) > 0 {
		from = append(from, "private/servers.yaml *")
	}
	text := strings.Join(from, ", ")
	if v.Stale {
		text += "; stale, as none of them is connected and announces it"
	}
	return text
}

func dialledText(v control.KnownServer) string {
	var ways []string
	for _, kind := range tarn.AddressKinds() {
		ways = append(ways, starred(v, "connections."+string(kind), fmt.Sprintf("%s %s", kind, v.Connections[string(kind)])))
	}
	if v.Punch {
		ways = append(ways, starred(v, "punch", "punch"))
	}
	return strings.Join(ways, ", ")
}
