//go:build integration

package nat_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// prefix and the process's number begin the name of each namespace, so that
// what a killed test left behind is known for what it is.
const prefix = "tarn-nat-"

// kind is how a router translates addresses.
type kind string

// The kinds. All let packets in only as answers, to the address and port that
// was sent to, as home routers do; what comes otherwise is dropped.
const (
	keepsPort kind = "masquerade persistent"                           // one port outside for one inside, the same
	ownPort   kind = "meta l4proto tcp masquerade to :40000-50000"     // one port outside for one inside, another
	symmetric kind = "meta l4proto tcp masquerade random,fully-random" // a port of its own for each address that is sent to
)

// network is namespaces on one wire: a public one with addresses that look
// public, and houses behind routers.
type network struct {
	t      *testing.T
	number int64 // of those that this process made
	houses int
}

var networks atomic.Int64

const (
	publicIP = "5.5.5.1"
	wire     = "wire"
)

// newNetwork makes the wire and the public namespace, and sees to it that
// nothing is left.
func newNetwork(t *testing.T) *network {
	t.Helper()
	sweep(t)
	n := &network{t: t, number: networks.Add(1)}
	n.namespace(wire)
	n.run("ip", "-n", n.name(wire), "link", "add", "br0", "type", "bridge")
	n.run("ip", "-n", n.name(wire), "link", "set", "br0", "up")
	n.namespace("public")
	n.plug("public", publicIP+"/24")
	return n
}

// name is a namespace's for the system.
func (n *network) name(short string) string {
	return fmt.Sprintf("%s%d-%d-%s", prefix, os.Getpid(), n.number, short)
}

func (n *network) namespace(short string) {
	n.t.Helper()
	n.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", n.name(short)).CombinedOutput(); err != nil {
			n.t.Errorf("delete namespace %s: %v %s", short, err, out)
		}
	})
	n.run("ip", "netns", "add", n.name(short))
	n.run("ip", "-n", n.name(short), "link", "set", "lo", "up")
}

// plug connects a namespace to the wire.
func (n *network) plug(short, address string) {
	n.t.Helper()
	n.run("ip", "-n", n.name(wire), "link", "add", "p-"+short, "type", "veth", "peer", "name", "wan", "netns", n.name(short))
	n.run("ip", "-n", n.name(wire), "link", "set", "p-"+short, "master", "br0", "up")
	n.run("ip", "-n", n.name(short), "addr", "add", address, "dev", "wan")
	n.run("ip", "-n", n.name(short), "link", "set", "wan", "up")
}

// house is a namespace behind a router of its own.
type house struct {
	network *network
	name    string // of the namespace inside
	router  string
	outside string // the router's address
	inside  string // the node's
}

// house builds one.
func (n *network) house(k kind) *house {
	n.t.Helper()
	n.houses++
	h := &house{
		network: n, name: fmt.Sprintf("in%d", n.houses), router: fmt.Sprintf("router%d", n.houses),
		outside: fmt.Sprintf("5.5.5.%d", 10+n.houses), inside: fmt.Sprintf("192.168.%d.2", n.houses),
	}
	n.namespace(h.router)
	n.plug(h.router, h.outside+"/24")
	n.namespace(h.name)
	n.run("ip", "-n", n.name(h.router), "link", "add", "lan", "type", "veth", "peer", "name", "lan", "netns", n.name(h.name))
	n.run("ip", "-n", n.name(h.router), "addr", "add", fmt.Sprintf("192.168.%d.1/24", n.houses), "dev", "lan")
	n.run("ip", "-n", n.name(h.router), "link", "set", "lan", "up")
	n.run("ip", "-n", n.name(h.name), "addr", "add", h.inside+"/24", "dev", "lan")
	n.run("ip", "-n", n.name(h.name), "link", "set", "lan", "up")
	n.run("ip", "-n", n.name(h.name), "route", "add", "default", "via", fmt.Sprintf("192.168.%d.1", n.houses))
	n.run("ip", "netns", "exec", n.name(h.router), "sysctl", "-qw", "net.ipv4.ip_forward=1")
	h.translate(k)
	return h
}

// translate gives the router its rules.
func (h *house) translate(k kind) {
	h.network.t.Helper()
	rules := fmt.Sprintf(`flush ruleset
table ip nat {
	chain out { type nat hook postrouting priority srcnat; oifname "wan" %s; }
}
table ip filter {
	chain in { type filter hook input priority filter; iifname "wan" ct state established,related accept; iifname "wan" drop; }
	chain through { type filter hook forward priority filter; iifname "wan" ct state established,related accept; iifname "wan" drop; }
}
`, k)
	c := exec.Command("ip", "netns", "exec", h.network.name(h.router), "nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	if out, err := c.CombinedOutput(); err != nil {
		h.network.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// refuse has the router answer what it does not let in, instead of dropping it.
func (h *house) refuse() {
	h.network.t.Helper()
	for _, chain := range []string{"in", "through"} {
		h.network.run("ip", "netns", "exec", h.network.name(h.router), "nft",
			"insert rule ip filter "+chain+` iifname "wan" ct state new meta l4proto tcp reject with tcp reset`)
	}
}

func (n *network) run(name string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// sweep deletes namespaces of tests that were killed.
func sweep(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatalf("this test needs iproute2, nftables and root: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, prefix)
		number, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(number); ours && err == nil && pid != os.Getpid() && syscall.Kill(pid, 0) != nil {
			_ = exec.Command("ip", "netns", "del", name).Run() // another test may be at it, too
		}
	}
}
