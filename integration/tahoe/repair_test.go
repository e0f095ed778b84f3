//go:build integration

package tahoe_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// Seven of ten disks are lost, and with them seven shares of each file and
// directory; Tahoe's own command line brings all of it back.
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
	s.run("done: 7 objects checked, 7 healthy, 0 unhealthy", "deep-check", "tahoe:backups/Latest")
	root := regexp.MustCompile("URI:DIR2-CHK:[^ ]+").FindString(s.run("Latest +URI:DIR2-CHK:", "ls", "--uri", "tahoe:backups"))

	for _, server := range g.Servers[:7] {
		server.LoseDisk()
		server.Start()
		g.AddAccount(server, g.Client, "")
	}
	g.Client.WaitLogins(10)
	s.run("done: 7 objects checked, 1 healthy, 6 unhealthy", "deep-check", "tahoe:backups/Latest")
	s.run("(?s) 6 repairs attempted, 6 successful, 0 failed.*post-repair: 7 healthy, 0 unhealthy", "deep-check", "--repair", "tahoe:backups/Latest")
	s.run("Success", "cp", "-r", "tahoe:backups/Latest", "out")
	s.same("in", "out/Latest")

	// The three that were left are lost now: it was really repaired.
	for _, server := range g.Servers[7:] {
		server.Stop()
	}
	s.run("Success", "cp", "-r", root+"/", "again")
	s.same("in", "again")
}
