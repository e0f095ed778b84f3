package tarn

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// counters are what the node counts itself.
type counters struct {
	puts, putErrors, putBytes prometheus.Counter
	gets, getBytes, getErrors prometheus.Counter
}

func newCounters() counters {
	c := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tarn", Name: name, Help: help})
	}
	return counters{
		puts:      c("put_files_total", "Files stored."),
		putErrors: c("put_errors_total", "Files that could not be stored."),
		putBytes:  c("put_bytes_total", "Bytes of the files stored."),
		gets:      c("get_files_total", "Files opened to be read."),
		getBytes:  c("get_bytes_total", "Bytes of files handed on."),
		getErrors: c("get_errors_total", "Readings that failed."),
	}
}

func (n *Node) newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		n.counters.puts, n.counters.putErrors, n.counters.putBytes, n.counters.gets, n.counters.getBytes, n.counters.getErrors,
		n.transferred(Publish, "publish_files_total", "New versions of mutable files written."),
		n.transferred(Retrieve, "retrieve_files_total", "Readings of mutable files."),
		gauges{n},
	)
	if n.config.Aggregator != nil {
		r.MustRegister(gridGauges{runningAggregator{n}})
	}
	return r
}

// transferred counts the transfers of a kind that ended well.
func (n *Node) transferred(kind TransferKind, name, help string) prometheus.Collector {
	o := prometheus.CounterOpts{Namespace: "tarn", Name: name, Help: help}
	return prometheus.NewCounterFunc(o, func() float64 { return n.transfers.endedWell(kind) })
}

// gauges asks the node how it is whenever somebody reads the metrics.
type gauges struct{ node *Node }

var (
	serversDesc  = prometheus.NewDesc("tarn_servers", "Storage servers known, by state of the connection.", []string{"state"}, nil)
	sessionsDesc = prometheus.NewDesc("tarn_storage_sessions", "Open connections to the storage server.", nil, nil)
	freeDesc     = prometheus.NewDesc("tarn_storage_free_bytes", "Free bytes on the storage server's disk.", nil, nil)
	reservedDesc = prometheus.NewDesc("tarn_storage_reserved_bytes", "Bytes of uploads in progress.", nil, nil)
	accountsDesc = prometheus.NewDesc("tarn_storage_accounts", "Accounts that may store.", nil, nil)

	relaySlotsDesc     = prometheus.NewDesc("tarn_relay_slots", "Servers that have a slot on the relay.", nil, nil)
	relayCircuitsDesc  = prometheus.NewDesc("tarn_relay_circuits", "Connections that the relay passes on.", nil, nil)
	relayBytesDesc     = prometheus.NewDesc("tarn_relay_bytes_total", "Bytes that the relay has passed on, both ways together.", nil, nil)
	relayRefusedDesc   = prometheus.NewDesc("tarn_relay_refused_total", "Reservations and circuits that the relay did not grant.", nil, nil)
	relaySlotBytesDesc = prometheus.NewDesc("tarn_relay_slot_bytes", "Bytes passed on for a server in the present time of its slot.", []string{"server"}, nil)
)

// gaugesWithin is how long the node may take for its status.
const gaugesWithin = 3 * time.Second

// Describe implements prometheus.Collector.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{serversDesc, sessionsDesc, freeDesc, reservedDesc, accountsDesc,
		relaySlotsDesc, relayCircuitsDesc, relayBytesDesc, relayRefusedDesc, relaySlotBytesDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. A node that does not answer has no
// gauges.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugesWithin)
	defer cancel()
	s, err := g.node.Status(ctx)
	if err != nil {
		return
	}
	send := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	states := map[string]int64{}
	for _, srv := range s.Servers {
		states[srv.State]++
	}
	for state, count := range states {
		send(serversDesc, count, state)
	}
	if s.Relay != nil {
		s.Relay.collect(ch)
	}
	if s.Storage == nil {
		return
	}
	send(sessionsDesc, int64(s.Storage.Sessions))
	send(freeDesc, s.Storage.Free)
	send(reservedDesc, s.Storage.Reserved)
	send(accountsDesc, int64(s.Storage.Accounts))
}

func (r *RelayStatus) collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(relaySlotsDesc, prometheus.GaugeValue, float64(len(r.Slots)))
	ch <- prometheus.MustNewConstMetric(relayCircuitsDesc, prometheus.GaugeValue, float64(len(r.Circuits)))
	ch <- prometheus.MustNewConstMetric(relayBytesDesc, prometheus.CounterValue, float64(r.Bytes))
	ch <- prometheus.MustNewConstMetric(relayRefusedDesc, prometheus.CounterValue, float64(r.Refused))
	for _, s := range r.Slots {
		ch <- prometheus.MustNewConstMetric(relaySlotBytesDesc, prometheus.GaugeValue, float64(s.Bytes), s.Server.String())
	}
}
