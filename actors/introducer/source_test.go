package introducer

import "testing"

func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"/ip4/192.0.2.7/tcp/3457":      "/ip4/192.0.2.7",
		"/ip6/2001:db8:1:2::7/tcp/80":  "2001:db8:1:2::/64",
		"/ip6/2001:db8:1:2:3::9/tcp/1": "2001:db8:1:2::/64",
		"/dns/server/tcp/1":            "/dns/server",
		"something else":               "something else",
	} {
		if got := sourceOf(address); got != want {
			t.Errorf("%s is of %q, want %q", address, got, want)
		}
	}
}
