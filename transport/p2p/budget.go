package p2p

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// budget bounds how often something is done in a minute, in all and at one
// network address.
type budget struct {
	most, perAddress int

	mu   sync.Mutex
	done []spent
}

type spent struct {
	at    time.Time
	where netip.Prefix
}

func (o Options) budget() *budget { return &budget{most: o.Punches, perAddress: o.PunchesPerAddress} }

// spend notes that it is done; false if it may not be, now.
func (b *budget) spend(where netip.Addr, now time.Time) bool {
	bits := where.BitLen()
	if where.Is6() {
		bits = 64
	}
	network := netip.PrefixFrom(where, bits).Masked()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = slices.DeleteFunc(b.done, func(s spent) bool { return now.Sub(s.at) >= time.Minute })
	here := 0
	for _, s := range b.done {
		if s.where == network {
			here++
		}
	}
	if len(b.done) >= b.most || here >= b.perAddress {
		return false
	}
	b.done = append(b.done, spent{now, network})
	return true
}
