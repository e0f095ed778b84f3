package p2p

import (
	"net/netip"
	"testing"
)

// FuzzPunchable: what a stranger names is dialled only at a public address, and
// at a port that no well-known service has.
func FuzzPunchable(f *testing.F) {
	for _, s := range []string{
		"203.0.113.7:4000", "5.5.5.5:4000", "5.5.5.5:22", "127.0.0.1:4000", "10.0.0.1:4000", "192.168.1.1:4000", "100.64.0.1:4000", "169.254.1.1:4000",
		"224.0.0.1:4000", "255.255.255.255:4000", "0.0.0.0:4000", "[2001:db8::1]:4000", "[fe80::1]:4000", "[fd00::1]:4000", "[::ffff:127.0.0.1]:4000", "[::1]:4000", "0.1.2.3:4000", "240.0.0.1:4000", "198.19.0.1:4000", "",
	} {
		f.Add(s)
	}
	private := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("::/127"),
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Options{}.punchable(s)
		if err != nil {
			return
		}
		if a.Port() < 1024 {
			t.Errorf("%q: port %d", s, a.Port())
		}
		for _, p := range private {
			if p.Contains(a.Addr().Unmap()) {
				t.Errorf("%q is in %s", s, p)
			}
		}
	})
}
