package lease

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// CardPeriod is how often an account manager's cards change: a card made at any
// time of a period ends with the next one, so it lasts 30 to 60 days, and all
// cards of a time end at the same UTC midnight.
const CardPeriod = 30 * day

const day = 24 * time.Hour

// CardTerms is what an account manager grants a member at each server.
type CardTerms struct {
	// Space is the most bytes of leases at a server; nil is no limit.
	Space *int64
	// End is in Unix seconds: there are no cards beyond the UTC midnight that
	// follows it. Nil is for ever.
	End *int64
}

// Card is a membership card: a chain of one certificate, by which an account
// manager lets a member's key for one server store there. It is no secret.
type Card struct {
	Chain  Chain
	Server grid.ServerID
	Key    grid.PublicKey // the member's at that server
	Until  int64          // Unix seconds
}

// At is whose card it is, and where.
func (c Card) At() ServerKey { return ServerKey{Server: c.Server, Key: c.Key} }

// SignCard is the card of a member's key at a server. It depends on nothing
// but the arguments and the period that now is in, so a manager need keep no
// cards: it signs the same one again for whoever asks. The error is
// ErrAuthorityExpired once the terms have ended.
func SignCard(manager ed25519.PrivateKey, server grid.ServerID, member grid.PublicKey, t CardTerms, now time.Time) (Card, error) {
	until := CardUntil(now)
	if t.End != nil {
		until = min(until, midnightAfter(*t.End))
	}
	if until <= now.Unix() {
		return Card{}, fmt.Errorf("sign a card: %w at %s", ErrAuthorityExpired, time.Unix(until, 0).UTC().Format(time.RFC3339))
	}
	root := grid.PublicKeyOf(manager)
	certificate := Certificate{Delegate: member}
	certificate.Root, certificate.Server, certificate.Until, certificate.Space = &root, &server, &until, t.Space
	chain, err := Chain{}.Sign(manager, certificate)
	return Card{chain, server, member, until}, err
}

// CardUntil is when cards end that are made now, in Unix seconds: a midnight
// that is common to all members, so that no server tells them apart by it.
func CardUntil(now time.Time) int64 {
	period := int64(CardPeriod / time.Second)
	return (now.Unix()/period + 2) * period
}

func midnightAfter(t int64) int64 {
	const seconds = int64(day / time.Second)
	return (t + seconds - 1) / seconds * seconds
}

// PlanSize rounds a quota up to 1, 2 or 5 times a power of ten bytes, so that
// no server tells members apart by an odd one. What is too large to be rounded
// is left as it is.
func PlanSize(bytes int64) int64 {
	if bytes <= 0 {
		return bytes
	}
	for unit := int64(1); unit < 1e18; unit *= 10 {
		for _, plan := range []int64{unit, 2 * unit, 5 * unit} {
			if bytes <= plan {
				return plan
			}
		}
	}
	return bytes
}

// ReadCard reads a card that this manager signed, whether or not it has ended.
// The error is ErrMalformed or ErrForged.
func ReadCard(b []byte, manager grid.PublicKey) (Card, error) {
	card, err := PeekCard(b, manager)
	if err == nil && !card.Chain.links[0].holds(manager, certificateTag) {
		return Card{}, fmt.Errorf("read a card: %w", ErrForged)
	}
	return card, err
}

// PeekCard reads what a card says; whether the manager signed it is still to be
// seen (ReadCard). The error is ErrMalformed.
func PeekCard(b []byte, manager grid.PublicKey) (Card, error) {
	chain, err := DecodeChain(b)
	if err != nil {
		return Card{}, fmt.Errorf("read a card: %w", err)
	}
	if root, ok := chain.Root(); !ok || root != manager || chain.Len() != 1 {
		return Card{}, fmt.Errorf("read a card: %w", malformed("not one certificate of this manager"))
	}
	certificate := chain.links[0].certificate
	if certificate.Server == nil || certificate.Until == nil {
		return Card{}, fmt.Errorf("read a card: %w", malformed("a card names its server and its end"))
	}
	return Card{chain, *certificate.Server, certificate.Delegate, *certificate.Until}, nil
}

// Card is the card that the chain begins with, if it does; whether the manager
// signed it is for ReadCard to say.
func (c Chain) Card() (Card, bool) {
	if len(c.links) == 0 {
		return Card{}, false
	}
	first := c.links[0].certificate
	if first.Server == nil || first.Until == nil {
		return Card{}, false
	}
	return Card{Chain{c.links[:1:1]}, *first.Server, first.Delegate, *first.Until}, true
}

// Renew is the chain under a newer card of the same manager, server and key than
// the one that it begins with; false if it does not, or with a newer one. What
// was delegated below the card holds on, since no certificate names its parent.
func (c Chain) Renew(newer Card) (Chain, bool) {
	older, ok := c.Card()
	if !ok || older.Server != newer.Server || older.Key != newer.Key || older.Until >= newer.Until {
		return c, false
	}
	ours, _ := c.Root()
	if root, ok := newer.Chain.Root(); !ok || root != ours || newer.Chain.Len() != 1 {
		return c, false
	}
	return Chain{append(newer.Chain.links[:1:1], c.links[1:]...)}, true
}

const cardProofTag = "tarn card request v1:"

// cardProof is what a member's key signs who asks for its first card.
type cardProof struct {
	Manager     grid.PublicKey `cbor:"manager"`
	Server      grid.ServerID  `cbor:"server"`
	Beneficiary grid.PublicKey `cbor:"beneficiary"`
}

// SignCardProof shows a manager that whoever made this connection holds the key
// that it asks a card for: beneficiary is the key of the host that connected.
// Later cards are given to whoever shows an older one, and need no proof.
func SignCardProof(key ed25519.PrivateKey, manager grid.PublicKey, server grid.ServerID, beneficiary grid.PublicKey) []byte {
	return ed25519.Sign(key, append([]byte(cardProofTag), encode(cardProof{manager, server, beneficiary})...))
}

// CardProofHolds reports whether SignCardProof made the proof.
func CardProofHolds(proof []byte, key, manager grid.PublicKey, server grid.ServerID, beneficiary grid.PublicKey) bool {
	return key.Verify(append([]byte(cardProofTag), encode(cardProof{manager, server, beneficiary})...), proof)
}
