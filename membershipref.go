package tarn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/membership"
)

// ErrMembershipRef is a text that is no membership reference.
var ErrMembershipRef = errors.New("not a membership reference")

const (
	membershipPrefix = "tarn:membership/"
	// maxMembershipIntroducers keeps a pasted text from becoming a lot of work.
	maxMembershipIntroducers = 16
)

// MembershipRef is all that a client needs to become a member of a grid: a
// one-time secret, who the account manager is and where, and the introducers.
// Its text is a secret until a client has joined with it:
// tarn:membership/SECRET+v0-MANAGER@/ip4/192.0.2.7/tcp/3459+v0-INTRODUCER@/dns/…
type MembershipRef struct {
	Secret  membership.Secret
	Manager struct {
		Server grid.ServerID
		Hints  []grid.Hint
	}
	Introducers []IntroducerRef
}

// Text is the form to hand over. The error is ErrMembershipRef where
// ParseMembershipRef would not read it.
func (r MembershipRef) Text() (string, error) {
	parts := []string{membershipPrefix + grid.EncodeBase32(r.Secret[:])}
	for _, place := range append([]IntroducerRef{r.Manager}, r.Introducers...) {
		parts = append(parts, strings.TrimPrefix(place.String(), introducerPrefix))
	}
	text := strings.Join(parts, "+")
	_, err := ParseMembershipRef(text)
	return text, err
}

// String hides the secret; Text has it.
func (MembershipRef) String() string { return membershipPrefix + "(secret)" }

// ParseMembershipRef reads Text; blanks and line breaks, which a mail may put
// into it, are no matter. The error is ErrMembershipRef and shows no secret.
func ParseMembershipRef(text string) (MembershipRef, error) {
	var r MembershipRef
	rest, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), membershipPrefix)
	if !ok {
		return r, fmt.Errorf("%w: it should begin with %s", ErrMembershipRef, membershipPrefix)
	}
	parts := strings.Split(rest, "+")
	secret, err := grid.DecodeBase32(parts[0], len(r.Secret))
	if err != nil {
		return r, fmt.Errorf("%w: its one-time secret was copied wrongly", ErrMembershipRef)
	}
	places := parts[1:]
	if len(places) < 1 || len(places) > 1+maxMembershipIntroducers {
		return r, fmt.Errorf("%w: it names %d nodes (want 1 to %d), so it may be cut off", ErrMembershipRef, len(places), 1+maxMembershipIntroducers)
	}
	all := make([]IntroducerRef, len(places))
	for i, place := range places {
		if all[i], err = ParseIntroducerRef(introducerPrefix + place); err != nil {
			return r, fmt.Errorf("%w: node %d: %w", ErrMembershipRef, i+1, err)
		}
	}
	r.Secret, r.Manager, r.Introducers = membership.Secret(secret), all[0], all[1:]
	return r, nil
}
