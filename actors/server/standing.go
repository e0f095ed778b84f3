package server

import (
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// standing is the offers that wait for another server to pass them on, each for
// a while. A new one of the same lease takes the place of the old one.
type standing struct {
	bySecret map[wire.Secret]*standingOffer
	byLease  map[lease.LeaseID]*standingOffer
	of       map[grid.PublicKey]int // by root
	order    []*standingOffer       // the oldest first, with some that are gone
}

type standingOffer struct {
	offer
	since time.Time
	gone  bool
}

func newStanding() standing {
	return standing{bySecret: map[wire.Secret]*standingOffer{}, byLease: map[lease.LeaseID]*standingOffer{}, of: map[grid.PublicKey]int{}}
}

// add reports false where there are too many, or another one has the secret.
func (s *standing) add(now time.Time, o offer) bool {
	s.tidy(now)
	s.remove(s.byLease[o.leaseID()])
	if len(s.bySecret) >= maxStanding || s.of[o.grant.Root] >= maxStandingOf || s.bySecret[o.share.Secret] != nil {
		return false
	}
	one := &standingOffer{offer: o, since: now}
	s.bySecret[o.share.Secret], s.byLease[o.leaseID()] = one, one
	s.order = append(s.order, one)
	s.of[o.grant.Root]++
	return true
}

// take is the offer of a secret, once.
func (s *standing) take(now time.Time, secret wire.Secret) (offer, bool) {
	s.tidy(now)
	one := s.bySecret[secret]
	if one == nil {
		return offer{}, false
	}
	s.remove(one)
	return one.offer, true
}

func (s *standing) abandon(id lease.LeaseID) { s.remove(s.byLease[id]) }

func (s *standing) remove(one *standingOffer) {
	if one == nil {
		return
	}
	one.gone = true
	delete(s.bySecret, one.share.Secret)
	delete(s.byLease, one.leaseID())
	if s.of[one.grant.Root]--; s.of[one.grant.Root] == 0 {
		delete(s.of, one.grant.Root)
	}
}

// tidy lets go of what is too old, and now and then of what is gone.
func (s *standing) tidy(now time.Time) {
	for len(s.order) > 0 && (s.order[0].gone || now.Sub(s.order[0].since) > standingFor) {
		if !s.order[0].gone {
			s.remove(s.order[0])
		}
		s.order = s.order[1:]
	}
	if len(s.order) > 2*len(s.bySecret)+leastStanding {
		s.order = slices.DeleteFunc(s.order, func(one *standingOffer) bool { return one.gone })
	}
}

// leastStanding is from how many on it is worth a look which are gone.
const leastStanding = 64
