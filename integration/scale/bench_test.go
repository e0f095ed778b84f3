package scale

import (
	"testing"
	"time"
)

// BenchmarkServers reports what each of a thousand servers costs a client that is
// logged in to all of them; those run in a process of their own. What the node costs
// without them is left out. Dials are spread over three minutes.
func BenchmarkServers(b *testing.B) {
	many := 1000
	if testing.Short() {
		many = 50
	}
	clauses, account := startFarm(b, many), newAccount(b)
	for b.Loop() {
		empty := client(b, folder(b, ""), account)
		before := spent(b)
		closeNode(b, empty)
		began := time.Now()
		n := client(b, folder(b, clauses), account)
		awaitLogins(b, n, many)
		b.ReportMetric(time.Since(began).Seconds(), "s")
		each := spent(b).less(before)
		b.ReportMetric(float64(each.bytes)/1024/float64(many), "KiB/server")
		b.ReportMetric(float64(each.goroutines)/float64(many), "goroutines/server")
		b.ReportMetric(each.cpu.Seconds()*1e3/float64(many), "CPU-ms/server")
		closeNode(b, n)
	}
}
