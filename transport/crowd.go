package transport

import (
	"net/netip"
	"slices"
	"strings"
)

// SourceOf is what of an address one person can't have many of: not its port,
// and the network only where a home gets a whole network (IPv6). All who come
// through an onion service are of one source.
func SourceOf(address string) string {
	source, _, _ := strings.Cut(address, "/tcp/")
	source, _, _ = strings.Cut(source, "/udp/")
	ip, err := netip.ParseAddr(strings.TrimPrefix(source, "/ip6/"))
	if err != nil || !ip.Is6() {
		return source
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}

// Crowd are strangers who share a bounded number of places: who has to go for
// a new one is drawn from the older half of those of the source that has most. So
// nobody keeps others out by doing nothing, nor those of another source by coming
// again and again. A newcomer of a source that has all places is safe until half
// as many others have come as there are places, and may well stay for longer: if n
// is that half, each that comes then is its end with a chance of 1/n. The zero
// value is empty.
type Crowd[T comparable] struct {
	members []stranger[T] // oldest first
	of      map[string]int
}

type stranger[T comparable] struct {
	who    T
	source string
}

// Len is how many there are.
func (c *Crowd[T]) Len() int { return len(c.members) }

// Add notes one that came from this address.
func (c *Crowd[T]) Add(who T, address string) {
	if c.of == nil {
		c.of = map[string]int{}
	}
	s := stranger[T]{who, SourceOf(address)}
	c.members = append(c.members, s)
	c.of[s.source]++
}

// Remove forgets one; false if it is not there.
func (c *Crowd[T]) Remove(who T) bool {
	at := slices.IndexFunc(c.members, func(s stranger[T]) bool { return s.who == who })
	if at < 0 {
		return false
	}
	source := c.members[at].source
	if c.of[source]--; c.of[source] == 0 {
		delete(c.of, source)
	}
	c.members = slices.Delete(c.members, at, at+1)
	return true
}

// First is who has to go for one that comes from this address; false if
// nobody is there. draw returns one of the numbers from 0 to n-1.
func (c *Crowd[T]) First(address string, draw func(n int) int) (who T, ok bool) {
	source := c.largest(SourceOf(address))
	if source == "" {
		return who, false
	}
	left := draw((c.of[source] + 1) / 2)
	at := slices.IndexFunc(c.members, func(s stranger[T]) bool {
		if s.source == source {
			left--
		}
		return left < 0
	})
	return c.members[at].who, true
}

// largest is the source that has most of them with one more of coming; of equal
// ones that of the oldest stranger.
func (c *Crowd[T]) largest(coming string) (source string) {
	most := 0
	for _, s := range c.members {
		n := c.of[s.source]
		if s.source == coming {
			n++
		}
		if n > most {
			most, source = n, s.source
		}
	}
	return source
}
