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
// a new one is the oldest of the source that has most of them. So nobody
// keeps others out by doing nothing, nor those of another source by coming
// again and again; and of one source a newcomer has as long as it takes the
// others to come as often as there are places. The zero value is empty.
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
// nobody is there.
func (c *Crowd[T]) First(address string) (who T, ok bool) {
	most, coming := 0, SourceOf(address)
	for _, s := range c.members {
		n := c.of[s.source]
		if s.source == coming {
			n++
		}
		if n > most {
			most, who = n, s.who
		}
	}
	return who, most > 0
}
