package tarn

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-grid/tarn/lease/tally"
)

// gridGauges are an aggregator's sums, made whenever somebody reads the metrics.
type gridGauges struct{ from Aggregator }

var (
	gridAccountBytes  = prometheus.NewDesc("tarn_grid_account_bytes", "Bytes that a member holds on all servers, as last reported; account is empty for keys of nobody.", []string{"account"}, nil)
	gridAccountShares = prometheus.NewDesc("tarn_grid_account_shares", "Shares that a member holds on all servers, as last reported.", []string{"account"}, nil)
	gridServerBytes   = prometheus.NewDesc("tarn_grid_server_bytes", "Bytes that a server says its members hold.", []string{"server", "nickname"}, nil)
	gridServerAt      = prometheus.NewDesc("tarn_grid_server_answered_timestamp_seconds", "When a server last reported; 0 for never.", []string{"server", "nickname"}, nil)
	gridServerDoubt   = prometheus.NewDesc("tarn_grid_server_doubtful_keys", "Keys for which a server reports more than it may let them store.", []string{"server", "nickname"}, nil)
	gridServerUnknown = prometheus.NewDesc("tarn_grid_server_unknown_keys", "Keys that a server reports and no member has there.", []string{"server", "nickname"}, nil)
	gridServers       = prometheus.NewDesc("tarn_grid_servers", "Servers of the grid, by whether their report is fresh, stale or missing.", []string{"state"}, nil)
)

// Describe implements prometheus.Collector.
func (gridGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{gridAccountBytes, gridAccountShares, gridServerBytes, gridServerAt, gridServerDoubt, gridServerUnknown, gridServers} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. An aggregator that does not answer
// has no gauges.
func (g gridGauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugesWithin)
	defer cancel()
	s, err := g.from.Usage(ctx, false)
	if err != nil {
		return
	}
	send := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for _, a := range s.Accounts {
		send(gridAccountBytes, a.Bytes, a.Name)
		send(gridAccountShares, a.Shares, a.Name)
	}
	states := map[tally.State]int64{tally.Fresh: 0, tally.Stale: 0, tally.Missing: 0}
	for _, v := range s.Servers {
		id := v.ID.String()
		send(gridServerBytes, v.Bytes, id, v.Nickname)
		send(gridServerAt, v.Answered, id, v.Nickname)
		send(gridServerDoubt, int64(v.DoubtfulOf), id, v.Nickname)
		send(gridServerUnknown, int64(v.UnknownKeys), id, v.Nickname)
		states[v.State]++
	}
	for state, count := range states {
		send(gridServers, count, string(state))
	}
}
