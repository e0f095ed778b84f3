package control

import (
	"context"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease/tally"
)

// Paths for a usage aggregator's operator.
const (
	pathSums    = "/v1/aggregator/usage"
	pathCollect = "/v1/aggregator/collect"
	pathHistory = "/v1/aggregator/history"
)

// Sums is tally.Summary as JSON: sizes are bytes, times RFC 3339.
type Sums struct {
	At       time.Time   `json:"at"`
	Bytes    int64       `json:"bytes"`
	Shares   int64       `json:"shares"`
	Accounts []MemberSum `json:"accounts"`
	Servers  []ServerSum `json:"servers"`
}

// MemberSum is what a member holds over all servers; without a name, keys
// that no member has.
type MemberSum struct {
	Name     string  `json:"name"`
	Bytes    int64   `json:"bytes"`
	Reserved int64   `json:"reserved"`
	Shares   int64   `json:"shares"`
	Keys     int     `json:"keys"`
	At       []SumAt `json:"at,omitempty"` // if asked for
	Below    []Part  `json:"below,omitempty"`
}

// Part is what one to whom a member delegated holds over all servers; a key
// where that has no name.
type Part struct {
	Name     string `json:"name,omitempty"`
	Key      string `json:"key,omitempty"`
	Bytes    int64  `json:"bytes"`
	Reserved int64  `json:"reserved"`
	Shares   int64  `json:"shares"`
	Keys     int    `json:"keys"`
	Below    []Part `json:"below,omitempty"`
}

func partOf(p tally.Part) Part {
	return Part{p.Name, keyText(p.Key), p.Bytes, p.Reserved, p.Shares, p.Keys, listOf(p.Below, partOf)}
}

// SumAt is what a key holds at one server. Doubtful: more than that server may
// let it store.
type SumAt struct {
	Server   string `json:"server"`
	Key      string `json:"key"`
	Bytes    int64  `json:"bytes"`
	Reserved int64  `json:"reserved"`
	Shares   int64  `json:"shares"`
	Doubtful bool   `json:"doubtful,omitempty"`
}

// ServerSum is one server's report: fresh, stale or missing.
type ServerSum struct {
	Server      string    `json:"server"`
	Nickname    string    `json:"nickname"`
	State       string    `json:"state"`
	Answered    time.Time `json:"answered,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	Bytes       int64     `json:"bytes"`
	Shares      int64     `json:"shares"`
	Keys        int       `json:"keys"`
	UnknownKeys int       `json:"unknown_keys"`
	Doubtful    int       `json:"doubtful"`
	Ahead       int64     `json:"clock_ahead_seconds,omitempty"`
}

// SumDay is tally.Day as JSON; the day is a date, in UTC.
type SumDay struct {
	Day      string             `json:"day"`
	Accounts []tally.DayAccount `json:"accounts"`
	Servers  []tally.DayServer  `json:"servers"`
}

// sumsRequest asks for what each member holds, with Detail at each server.
type sumsRequest struct {
	Detail bool `json:"detail,omitempty"`
}

// SumsOf is a summary as JSON, with detail by server.
func SumsOf(s tally.Summary, detail bool) Sums {
	out := Sums{At: unixTime(s.At), Bytes: s.Bytes, Shares: s.Shares}
	out.Accounts = listOf(s.Accounts, func(a tally.Account) MemberSum { return memberSumOf(a, detail) })
	out.Servers = listOf(s.Servers, func(v tally.Server) ServerSum {
		return ServerSum{
			Server: v.ID.String(), Nickname: v.Nickname, State: string(v.State), Answered: unixTime(v.Answered), LastError: v.Err,
			Bytes: v.Bytes, Shares: v.Shares, Keys: v.Keys, UnknownKeys: v.UnknownKeys, Doubtful: v.DoubtfulOf, Ahead: v.Ahead,
		}
	})
	return out
}

func memberSumOf(a tally.Account, detail bool) MemberSum {
	out := MemberSum{Name: a.Name, Bytes: a.Bytes, Reserved: a.Reserved, Shares: a.Shares, Keys: a.Keys, Below: listOf(a.Below, partOf)}
	if detail {
		out.At = listOf(a.At, func(at tally.At) SumAt {
			return SumAt{at.Server.String(), at.Key.String(), at.Bytes, at.Reserved, at.Shares, at.Doubtful}
		})
	}
	return out
}

func sumDayOf(d tally.Day) SumDay {
	return SumDay{d.Day.Date(), d.Accounts, d.Servers}
}

func (s *server) handleAggregator(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathSums, handledBy(s.node.Aggregator, maxObject, func(ctx context.Context, a tarn.Aggregator, ask sumsRequest) (Sums, error) {
		sum, err := a.Usage(ctx, ask.Detail)
		return SumsOf(sum, ask.Detail), err
	}))
	mux.HandleFunc("POST "+pathCollect, handledBy(s.node.Aggregator, maxObject, func(ctx context.Context, a tarn.Aggregator, _ nothing) (nothing, error) {
		return nothing{}, a.Collect(ctx)
	}))
	mux.HandleFunc("POST "+pathHistory, handledBy(s.node.Aggregator, maxObject, func(ctx context.Context, a tarn.Aggregator, since time.Time) ([]SumDay, error) {
		days, err := a.History(ctx, since)
		return listOf(days, sumDayOf), err
	}))
}

// Sums is what the node's aggregator was told last, with detail by server.
func (c *Client) Sums(ctx context.Context, detail bool) (Sums, error) {
	var u Sums
	return u, c.post(ctx, pathSums, sumsRequest{detail}, &u)
}

// Collect has the node's aggregator ask all servers now.
func (c *Client) Collect(ctx context.Context) error {
	return c.post(ctx, pathCollect, nothing{}, &nothing{})
}

// History lists what the node's aggregator kept, from a day on.
func (c *Client) History(ctx context.Context, since time.Time) ([]SumDay, error) {
	var days []SumDay
	return days, c.post(ctx, pathHistory, since, &days)
}
