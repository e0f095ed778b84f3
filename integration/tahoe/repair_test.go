//go:build integration

package tahoe_test

import (
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// Seven of ten disks are lost, and with them seven shares of each file and
// directory, mutable and immutable; Tahoe's own command line brings all of it
// back.
func TestSevenSharesLost(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 10, Needed: 3, Happy: 7, Total: 10, Gateway: true})
	s := newStock(t, g.Client)
	letter := strings.Repeat("Dear reader, this is longer than what a capability holds.\n", 50)
	s.write("in/one.txt", letter)
	s.write("in/large", strings.Repeat(letter, 200))
	s.write("in/sub/small", "small")
	s.write("in/sub/deeper/Ünïcode ☃.txt", letter+letter)
	s.run("created", "create-alias", "tahoe")
	s.run("directories created", "backup", "in", "tahoe:backups")
	s.run("Success", "cp", "-r", "in", "tahoe:")
	s.run("^URI:SSK:", "put", "--mutable", "in/one.txt", "tahoe:diary")
	s.run("^URI:MDMF:", "put", "--format=mdmf", "in/large", "tahoe:medium")
	s.run("done: 16 objects checked, 16 healthy, 0 unhealthy", "deep-check", "tahoe:")

	for _, server := range g.Servers[:7] {
		server.LoseDisk()
		server.Start()
		g.AddAccount(server, g.Client, "")
	}
	g.Client.WaitLogins(10)
	s.run("done: 16 objects checked, 2 healthy, 14 unhealthy", "deep-check", "tahoe:")
	s.run("(?s) 14 repairs attempted, 14 successful, 0 failed.*post-repair: 16 healthy, 0 unhealthy", "deep-check", "--repair", "tahoe:")
	s.run("done: 16 objects checked, 16 healthy, 0 unhealthy", "deep-check", "--verify", "tahoe:")
	s.run("Success", "cp", "-r", "tahoe:in", "out")
	s.same("in", "out/in")

	// The three that were left are lost now: it was really repaired.
	for _, server := range g.Servers[7:] {
		server.Stop()
	}
	s.run("Success", "cp", "-r", "tahoe:in", "again")
	s.same("in", "again/in")
	s.run("Success", "cp", "-r", "tahoe:backups/Latest", "restored")
	s.same("in", "restored/Latest")
	s.run("", "get", "tahoe:diary", "diary")
	s.same("in/one.txt", "diary")
	s.run("", "get", "tahoe:medium", "medium")
	s.same("in/large", "medium")
}
