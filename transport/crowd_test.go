package transport_test

import (
	"fmt"
	"testing"

	"github.com/tarn-grid/tarn/transport"
)

func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"/ip4/192.0.2.7/tcp/3457":                             "/ip4/192.0.2.7",
		"/ip4/192.0.2.7/udp/3457/quic-v1":                     "/ip4/192.0.2.7",
		"/ip6/2001:db8:1:2::7/tcp/80":                         "2001:db8:1:2::/64",
		"/ip6/2001:db8:1:2:3::9/tcp/1":                        "2001:db8:1:2::/64",
		"/ip6/2001:db8:1:2:3::9/udp/1/quic-v1":                "2001:db8:1:2::/64",
		"/dns/server/tcp/1":                                   "/dns/server",
		"/ip4/192.0.2.7/tcp/3457/p2p/12D3KooWAbc/p2p-circuit": "/ip4/192.0.2.7",
		"something else":                                      "something else",
	} {
		if got := transport.SourceOf(address); got != want {
			t.Errorf("%s is of %q, want %q", address, got, want)
		}
	}
}

// oldest draws the first of those who may have to go.
func oldest(int) int { return 0 }

func TestWhoGoesFirst(t *testing.T) {
	var c transport.Crowd[string]
	if _, ok := c.First("/ip4/192.0.2.1/tcp/1", oldest); ok {
		t.Error("somebody goes where nobody is")
	}
	from := func(source, port int) string { return fmt.Sprintf("/ip4/192.0.2.%d/tcp/%d", source, port) }
	c.Add("honest", from(1, 1))
	c.Add("flood1", from(2, 1))
	c.Add("flood2", from(2, 2))
	c.Add("other", from(3, 1))
	for _, step := range []struct{ address, want string }{
		{from(4, 1), "flood1"}, // that source has most
		{from(2, 3), "flood1"},
		{from(3, 2), "flood1"}, // two of each: the oldest
	} {
		if got, ok := c.First(step.address, oldest); !ok || got != step.want {
			t.Errorf("%s comes and %q goes, want %q", step.address, got, step.want)
		}
	}
	if !c.Remove("flood1") || c.Remove("flood1") || c.Len() != 3 {
		t.Error("one is removed once")
	}
	if got, _ := c.First(from(3, 2), oldest); got != "other" {
		t.Errorf("%q goes for a second one of its source", got)
	}
	if got, _ := c.First(from(4, 1), oldest); got != "honest" {
		t.Errorf("%q goes where each source has one, want the oldest", got)
	}
}

// TestOlderHalf: one of those goes, of the source that has most, whichever is drawn.
func TestOlderHalf(t *testing.T) {
	for drawn, want := range []string{"flood0", "flood1", "flood2"} {
		var c transport.Crowd[string]
		for n := range 5 {
			c.Add(fmt.Sprint("honest", n), fmt.Sprintf("/ip4/192.0.2.%d/tcp/1", n))
			c.Add(fmt.Sprint("flood", n), fmt.Sprintf("/ip4/192.0.2.99/tcp/%d", n))
		}
		got, ok := c.First("/ip4/192.0.2.99/tcp/9", func(n int) int {
			if n != 3 {
				t.Errorf("drawn is among %d", n)
			}
			return drawn
		})
		if !ok || got != want {
			t.Errorf("%q goes, want %q", got, want)
		}
	}
}
