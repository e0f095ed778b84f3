package client

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// vault holds private keys. It signs and never exports.
//
// Owns: the authority that this node may use.
// On failure: starts anew with the authority that the node was started with.
type vault struct {
	own   lease.Account
	given lease.Authority // in the configuration and since
	// cards of each account manager, for this node's own keys.
	cards map[grid.ServerID][]lease.Chain
	// below are the newest cards of others, under which something was given.
	below     map[lease.ServerKey]lease.Card
	authority lease.Authority // all of it
}

func newVault(a lease.Authority, own lease.Account) env.Producer {
	return func() actor.Actor {
		return &vault{own: own, given: a, authority: a, cards: map[grid.ServerID][]lease.Chain{}, below: map[lease.ServerKey]lease.Card{}}
	}
}

// signLogin asks for the login of the n-th credential at a server; answered
// by signedLogin.
type signLogin struct {
	replyTo     *actor.PID
	generation  uint64
	server      grid.Announcement
	beneficiary grid.PublicKey
	nonce       lease.Nonce
	credential  int
	label       grid.PublicKey // the only account to sign for; zero is any
	// again is the credential of the login there is, to renew it; else zero. A
	// newer card of the same key may have taken its place.
	again    lease.CredentialID
	againKey grid.PublicKey
}

// signedLogin has ok false when there is no such credential.
type signedLogin struct {
	generation uint64
	ok         bool
	key        grid.PublicKey // that signed
	label      grid.PublicKey // whose the leases are
	id         lease.CredentialID
	chain      []byte
	request    []byte
	err        error
}

// askLabels asks for which accounts there are credentials at a server; answered
// by labelsKnown.
type askLabels struct {
	replyTo *actor.PID
	server  grid.Announcement
	number  uint64 // comes back
}

// To the vault, from a membership.
type (
	// useCards replaces the cards from a manager.
	useCards struct {
		manager grid.ServerID
		cards   []lease.Chain
	}
	// askBelow asks for the cards of others from a manager, under which something
	// was given; answered by cardsBelow.
	askBelow struct {
		replyTo *actor.PID
		manager grid.PublicKey
	}
	// askCards asks for all of those that are the newest; answered by useBelow.
	askCards struct{ replyTo *actor.PID }
	// useBelow has the newer cards of others take the place of older ones.
	useBelow struct{ cards []lease.Card }
	// signKeyList and signCardProof are answered by signedForManager.
	signKeyList struct {
		replyTo *actor.PID
		link    *link
		manager grid.PublicKey
		servers []grid.ServerID
	}
	signCardProof struct {
		replyTo     *actor.PID
		link        *link
		manager     grid.PublicKey
		server      grid.ServerID
		beneficiary grid.PublicKey
	}
)

// signGrants asks for certificates by which a helper may store one file for a
// day; answered by grants.
type signGrants struct {
	replyTo *actor.PID
	helper  grid.PublicKey
	si      grid.StorageIndex
	maxSize int64 // of a share, bytes
	until   int64 // Unix seconds
	servers []candidate
}

// grants are chains, by preference of their servers. job names the file between
// helper and account, who alone can know it.
type grants struct {
	chains [][]byte
	job    wire.Secret
}

// signedForManager is a key list, or the proof of a key, for the connection
// that it was asked for.
type signedForManager struct {
	link   *link
	key    grid.PublicKey
	signed []byte
}

// Receive implements actor.Actor.
func (v *vault) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case signLogin:
		ctx.Send(m.replyTo, v.sign(m))
	case askLabels:
		known := labelsKnown{server: m.server.Server, number: m.number}
		for _, c := range v.authority.At(m.server) {
			known.labels = append(known.labels, c.Label())
		}
		ctx.Send(m.replyTo, known)
	case AddAuthority:
		v.given = v.given.Join(m.Authority)
		v.combine()
		ctx.Send(m.ReplyTo, Done{})
	case RemoveAuthority:
		v.given = v.given.Without(m.Authority)
		v.combine()
		ctx.Send(m.ReplyTo, Done{})
	case useCards:
		v.cards[m.manager] = m.cards
		v.combine()
	case askBelow:
		ctx.Send(m.replyTo, cardsBelow{v.cardsBelow(m.manager)})
	case askCards:
		ctx.Send(m.replyTo, useBelow{v.newest()})
	case useBelow:
		for _, c := range m.cards {
			v.below[c.At()] = c
		}
		v.combine()
	case signKeyList:
		v.signKeyList(ctx, m)
	case signGrants:
		ctx.Send(m.replyTo, v.grant(m))
	case signCardProof:
		key := v.own.Key(m.server)
		proof := lease.SignCardProof(key, m.manager, m.server, m.beneficiary)
		ctx.Send(m.replyTo, signedForManager{m.link, grid.PublicKeyOf(key), proof})
	}
}

// combine adds the cards to what was given, and puts newer cards of others in
// the place of older ones.
func (v *vault) combine() {
	var all lease.Authority
	for _, h := range v.given.Holdings {
		if card, ok := h.Chain.Card(); ok {
			h.Chain, _ = h.Chain.Renew(v.below[card.At()])
		}
		all.Holdings = append(all.Holdings, h)
	}
	var cards lease.Authority
	for _, manager := range sortedServers(v.cards) {
		for _, chain := range v.cards[manager] {
			cards.Holdings = append(cards.Holdings, lease.Holding{Chain: chain, Account: v.own})
		}
	}
	v.authority = all.Join(cards)
}

// cardsBelow are the cards that given chains begin with, as they were given.
func (v *vault) cardsBelow(manager grid.PublicKey) []lease.Card {
	var list []lease.Card
	for _, h := range v.given.Holdings {
		card, ok := h.Chain.Card()
		if root, chained := h.Chain.Root(); ok && chained && root == manager {
			list = append(list, card)
		}
	}
	return list
}

// newest are the newest cards of others, in the order of their servers and keys.
func (v *vault) newest() []lease.Card {
	var list []lease.Card
	for _, at := range slices.SortedFunc(maps.Keys(v.below), func(a, b lease.ServerKey) int {
		return cmp.Or(bytes.Compare(a.Server[:], b.Server[:]), bytes.Compare(a.Key[:], b.Key[:]))
	}) {
		list = append(list, v.below[at])
	}
	return list
}

func (v *vault) signKeyList(ctx actor.Context, m signKeyList) {
	signed, err := v.own.SignKeyList(m.manager, m.servers)
	if err != nil {
		panic("sign a key list: " + err.Error()) // the servers stand in a list that was checked
	}
	ctx.Send(m.replyTo, signedForManager{link: m.link, signed: signed})
}

func (v *vault) sign(m signLogin) signedLogin {
	credentials := v.authority.At(m.server)
	if !m.label.IsZero() {
		credentials = slices.DeleteFunc(credentials, func(c lease.Credential) bool { return c.Label() != m.label })
	}
	if m.again != (lease.CredentialID{}) {
		m.credential = m.find(credentials)
	}
	if m.credential < 0 || m.credential >= len(credentials) {
		return signedLogin{generation: m.generation}
	}
	c := credentials[m.credential]
	_, labelled := c.Chain.Label()
	request := lease.Request{Beneficiary: m.beneficiary, Nonce: m.nonce, SignerGetsLease: !labelled}
	request.Server = &m.server.Server
	signed, err := request.Sign(c.Chain, c.Key)
	return signedLogin{
		generation: m.generation, ok: true, err: err,
		key: grid.PublicKeyOf(c.Key), label: c.Label(), id: c.ID(), chain: c.Chain.Encode(), request: signed,
	}
}

// grant signs for as many servers as a helper may be told of.
func (v *vault) grant(m signGrants) grants {
	g := grants{job: v.jobOf(m)}
	size := 0
	for _, s := range m.servers {
		chain, ok := v.grantAt(s, m)
		if !ok {
			continue
		}
		encoded := chain.Encode()
		if size += len(encoded); size > wire.MaxHelpChainBytes || len(g.chains) == wire.MaxHelpChains {
			break
		}
		g.chains = append(g.chains, encoded)
	}
	return g
}

// jobOf is the same for a file whenever it is stored under this authority.
func (v *vault) jobOf(m signGrants) (job wire.Secret) {
	if len(v.given.Holdings) == 0 {
		return job // there will be no chain, either
	}
	sum := sha256.New()
	sum.Write([]byte("tarn helper job v1:"))
	sum.Write(v.given.Holdings[0].Account.Key(grid.ServerID(m.helper)).Seed())
	sum.Write(m.si[:])
	copy(job[:], sum.Sum(nil))
	return job
}

// grantAt is a chain for one server, under the account that this node is logged
// in with there.
func (v *vault) grantAt(s candidate, m signGrants) (lease.Chain, bool) {
	for _, c := range v.authority.At(s.announcement) {
		if c.Label() != s.label {
			continue
		}
		_, labelled := c.Chain.Label()
		d := lease.Delegation{SignerGetsLease: !labelled}
		d.Operation, d.StorageIndex, d.Server = new(lease.OpUpload), &m.si, &s.id
		d.MaxSize, d.Until = &m.maxSize, &m.until
		chain, err := c.Delegate(m.helper, d)
		if err != nil {
			continue
		}
		if limits, err := chain.Effective(); err == nil && limits.Operations().Has(lease.OpUpload) {
			return chain, true
		}
	}
	return lease.Chain{}, false
}

// find is the index of the credential to renew, -1 if it is gone.
func (m signLogin) find(credentials []lease.Credential) int {
	same := func(c lease.Credential) bool { return c.ID() == m.again }
	if i := slices.IndexFunc(credentials, same); i >= 0 {
		return i
	}
	return slices.IndexFunc(credentials, func(c lease.Credential) bool {
		return c.Chain.Len() > 0 && grid.PublicKeyOf(c.Key) == m.againKey
	})
}
