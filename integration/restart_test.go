//go:build integration

package integration_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

// A server with many leases that was killed in the middle of its work can soon
// be used again, and has them all; TARN_BIG=1 makes it a million leases.
func TestRestartWithManyLeases(t *testing.T) {
	leases := 50_000
	if nodes.Big() {
		leases = 1_000_000
	}
	g := nodes.Prepare(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	server := g.Servers[0]
	server.Stop()
	fillAndKill(t, server.Path("storage"), leases)
	for _, what := range []string{"after its table was killed while leases were renewed", "after it was killed itself"} {
		took := server.Start()
		t.Logf("with %d leases, %s: ready in %.2f s", leases, what, took.Seconds())
		if took > mostRestart {
			t.Errorf("%s it was ready in %v (want at most %v)", what, took, mostRestart)
		}
		if _, shares, _ := server.Usage(); shares != int64(leases) {
			t.Errorf("%s it has %d of %d leases", what, shares, leases)
		}
		server.Kill()
	}
}

// The environment of a process that fills a table, and does nothing else.
const (
	fillFolder = "TARN_FILL_FOLDER"
	fillLeases = "TARN_FILL_LEASES"
)

// fillAndKill has a process fill a server's table and renew what is in it, and
// kills that in the midst of it.
func fillAndKill(t *testing.T, folder string, leases int) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fillFolder+"="+folder, fmt.Sprint(fillLeases, "=", leases))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 20 { // renewals that are durable
		if !lines.Scan() {
			t.Fatalf("the table could not be filled: %v", c.Wait())
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
}

// fillTable gives the first account of a server so many leases, and renews
// them for ever, a thousand at a time, with a line for each time.
func fillTable(folder string, leases int) error {
	s, err := store.Open(folder, store.Options{})
	if err != nil {
		return err
	}
	roots, err := s.Roots()
	if err != nil || len(roots) == 0 {
		return fmt.Errorf("a table without an account: %w", err)
	}
	k, now := roots[0].Key, time.Now()
	grant := lease.Grant{Root: k, Keys: []grid.PublicKey{k}, Label: k}
	ledger := lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})
	shares := make([]lease.ShareID, leases)
	for i := range shares {
		binary.BigEndian.PutUint64(shares[i].StorageIndex[:], uint64(i+1)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(shares[i].StorageIndex[8:], uint64(i))
		change, _, err := ledger.Put(now, grant, shares[i], lease.Body{}, lease.NoLimit)
		if err != nil {
			return err
		}
		if _, err := s.Apply(change); err != nil {
			return err
		}
	}
	for n := 0; ; n = (n + 1000) % (leases - 1000) {
		now = now.Add(time.Second)
		change, _, err := ledger.RenewLeases(now, grant, shares[n:n+1000])
		if err != nil {
			return err
		}
		commit, err := s.Apply(change)
		if err != nil {
			return err
		}
		if err := commit.Wait(); err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString("renewed\n"); err != nil {
			return err
		}
	}
}
