//go:build integration

package tor_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/transport/tor"
)

// Size of the network. With fewer relays there are too few for the circuits of
// both ends of an onion service.
const (
	authorities = 3
	relays      = 4
)

// network is a Tor of its own on this machine: authorities that vote every few
// seconds, and relays that are exits, all on loopback.
type network struct {
	t      testing.TB
	dir    string
	common string // settings of every member
}

// daemon is a Tor.
type daemon struct {
	t       testing.TB
	dir     string
	command *exec.Cmd
	ended   chan struct{}
}

// newNetwork starts one, and returns before it has agreed on who is in it.
func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{t: t, dir: t.TempDir()}
	lines := make([]string, authorities)
	ports := freePorts(t, 2*(authorities+relays))
	var keys sync.WaitGroup
	for i := range authorities {
		keys.Go(func() { lines[i] = n.authority(i, ports[2*i], ports[2*i+1]) })
	}
	keys.Wait()
	if t.Failed() {
		t.FailNow()
	}
	n.common = "TestingTorNetwork 1\nShutdownWaitLength 0\nPathsNeededToBuildCircuits 0.67\n" + strings.Join(lines, "\n") + "\n"
	for i := range authorities + relays {
		n.member(i, ports[2*i], ports[2*i+1])
	}
	return n
}

// freePorts are such that nobody listened at a moment ago.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

var (
	v3Fingerprint    = regexp.MustCompile(`(?m)^fingerprint (\w+)`)
	relayFingerprint = regexp.MustCompile(`(?m)^\w+ ([0-9A-F ]{40,})$`)
)

// authority makes the keys of one, and returns the line by which all know it.
// It runs beside others, so it reports failures and goes on.
func (n *network) authority(i, orPort, dirPort int) string {
	dir := n.folder(i)
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		n.t.Error(err)
		return ""
	}
	gencert := exec.Command("tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "1", "-a", fmt.Sprintf("127.0.0.1:%d", dirPort),
		"-i", filepath.Join(keys, "authority_identity_key"), "-s", filepath.Join(keys, "authority_signing_key"), "-c", filepath.Join(keys, "authority_certificate"))
	gencert.Stdin = strings.NewReader("of a test\n")
	if out, err := gencert.CombinedOutput(); err != nil {
		n.t.Errorf("make the keys of an authority: %v: %s", err, out)
		return ""
	}
	certificate, err := os.ReadFile(filepath.Join(keys, "authority_certificate"))
	if err != nil {
		n.t.Error(err)
		return ""
	}
	listed, err := exec.Command("tor", "--list-fingerprint", "--quiet", "--ignore-missing-torrc", "-f", filepath.Join(dir, "none"),
		"--orport", "1", "--datadirectory", dir, "--nickname", member(i)).Output()
	v3, relay := v3Fingerprint.FindSubmatch(certificate), relayFingerprint.FindSubmatch(listed)
	if err != nil || v3 == nil || relay == nil {
		n.t.Errorf("no fingerprints of an authority: %v: %s", err, listed)
		return ""
	}
	return fmt.Sprintf("DirAuthority %s orport=%d no-v2 v3ident=%s 127.0.0.1:%d %s",
		member(i), orPort, v3[1], dirPort, bytes.ReplaceAll(relay[1], []byte(" "), nil))
}

func member(i int) string { return "member" + strconv.Itoa(i) }

func (n *network) folder(i int) string { return filepath.Join(n.dir, member(i)) }

const authoritySettings = `AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@example.invalid
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 3
TestingMinExitFlagThreshold 0
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
ExitPolicy reject *:*
`

// member starts an authority or a relay.
func (n *network) member(i, orPort, dirPort int) {
	n.t.Helper()
	special := "ExitRelay 1\nExitPolicy accept *:*\n"
	if i < authorities {
		special = authoritySettings
	}
	n.start(n.folder(i), fmt.Sprintf("Nickname %s\nAddress 127.0.0.1\nAssumeReachable 1\nORPort 127.0.0.1:%d IPv4Only\nDirPort 127.0.0.1:%d\nSocksPort 0\n"+
		"ServerDNSDetectHijacking 0\nServerDNSTestAddresses\n%s", member(i), orPort, dirPort, special))
}

// client starts a Tor with a control port and these settings.
func (n *network) client(name, settings string) *daemon {
	n.t.Helper()
	return n.start(filepath.Join(n.dir, name), "ControlPort unix:"+filepath.Join(n.dir, name, "control")+"\nCookieAuthentication 1\n"+settings)
}

func (n *network) start(dir, settings string) *daemon {
	n.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
	settings = n.common + "DataDirectory " + dir + "\nLog notice file " + filepath.Join(dir, "log") + "\n" + settings
	if err := os.WriteFile(filepath.Join(dir, "torrc"), []byte(settings), 0o600); err != nil {
		n.t.Fatal(err)
	}
	d := &daemon{t: n.t, dir: dir}
	n.t.Cleanup(d.stop)
	d.run()
	return d
}

// run starts the process; it also ends when this one does.
func (d *daemon) run() {
	d.t.Helper()
	d.command = exec.Command("tor", "--quiet", "-f", filepath.Join(d.dir, "torrc"), "--__OwningControllerProcess", strconv.Itoa(os.Getpid()))
	if err := d.command.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.ended = make(chan struct{})
	go func() {
		_ = d.command.Wait() // how it ended is in its log
		close(d.ended)
	}()
}

func (d *daemon) stop() {
	_ = d.command.Process.Signal(syscall.SIGTERM) // it may have ended
	<-d.ended
}

func (d *daemon) control() tor.Control {
	return tor.Control{Address: tor.Address("unix:" + filepath.Join(d.dir, "control"))}
}

// ask asks at the control port; a Tor that does not answer has no lines.
func (d *daemon) ask(key string) []string {
	c, err := d.control().Dial(d.t.Context())
	if err != nil {
		return nil
	}
	defer c.Close()
	lines, err := c.Ask(key)
	if err != nil {
		d.t.Logf("%v", err)
	}
	return lines
}

// ready waits until it can make circuits.
func (d *daemon) ready() {
	d.t.Helper()
	defer func() {
		if d.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(d.dir, "log"))
			d.t.Logf("its log: %s", log[max(0, len(log)-3000):])
		}
	}()
	nodes.Until(d.t, "Tor is in its network", 2*time.Minute, func() bool {
		return strings.Contains(strings.Join(d.ask("status/bootstrap-phase"), ""), "TAG=done")
	})
}
