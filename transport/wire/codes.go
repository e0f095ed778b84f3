package wire

import (
	"fmt"
	"strings"
	"unicode"
)

// Kind is the type code of a message on the wire. Codes are never reused.
type Kind uint8

// The kinds.
const (
	KindError       Kind = 1
	KindDone        Kind = 2
	KindHello       Kind = 3
	KindLogin       Kind = 4
	KindResume      Kind = 5
	KindLoggedIn    Kind = 6
	KindFind        Kind = 7
	KindFound       Kind = 8
	KindRead        Kind = 9
	KindData        Kind = 10
	KindAllocate    Kind = 11
	KindAllocated   Kind = 12
	KindStored      Kind = 13
	KindAbandon     Kind = 14
	KindAddLease    Kind = 15
	KindRenewLease  Kind = 16
	KindLeased      Kind = 17
	KindUsage       Kind = 18
	KindUsageReport Kind = 19
	KindOpenOffer   Kind = 20
	KindReadOffer   Kind = 21
	KindPublish     Kind = 22
	KindSubscribe   Kind = 23
	KindAnnounce    Kind = 24

	KindLoginWithoutKey Kind = 25

	KindRenewShares      Kind = 30
	KindCancelShares     Kind = 31
	KindSharesDone       Kind = 32
	KindEnumerate        Kind = 33
	KindEnumerated       Kind = 34
	KindUsageBelow       Kind = 35
	KindUsageBelowReport Kind = 36
	KindEnrol            Kind = 50
	KindEnrolled         Kind = 51
	KindAskServers       Kind = 52
	KindServerList       Kind = 53
	KindFetchCard        Kind = 54
	KindRefreshCard      Kind = 55
	KindCard             Kind = 56
	KindAskHelp          Kind = 57
	KindHelpData         Kind = 58
	KindHelped           Kind = 59
	KindObserved         Kind = 60
	KindPunch            Kind = 61
	KindPunching         Kind = 62
	KindPassOn           Kind = 70
	KindPassedOn         Kind = 71
	KindMutate           Kind = 80
	KindMutated          Kind = 81
	KindStage            Kind = 82
	KindUnstage          Kind = 83
)

// Code is an error that somebody acts on, as a number on the wire. Codes are
// never reused; an unknown one is treated as Internal.
type Code uint16

// The codes, and who acts on them.
const (
	Internal         Code = 1  // the other side's own fault; try elsewhere
	BadRequest       Code = 2  // malformed or out of order; a bug of ours or an attack
	LoginRequired    Code = 3  // log in first
	AuthorityExpired Code = 4  // log in again, once
	AuthorityRevoked Code = 5  // never again with this authority
	NotPermitted     Code = 6  // the chain does not allow it; Limit names the restriction
	OverQuota        Code = 7  // the account, its root or a grant is full
	ServerFull       Code = 8  // the disk is
	NoSuchShare      Code = 9  // not here
	BadShare         Code = 10 // what was pulled does not verify
	TooSlow          Code = 11 // a pull below the floor rate was abandoned
	Busy             Code = 12 // too much at a time; later
	Abandoned        Code = 13 // by the client
	NotAccepted      Code = 14 // the chain does not start at a root of this server
	WrongEnabler     Code = 15 // the share that is to be changed has another write enabler, or can't be changed
)

var codeNames = map[Code]string{
	Internal: "internal error", BadRequest: "bad request", LoginRequired: "login required",
	AuthorityExpired: "authority expired", AuthorityRevoked: "authority revoked", NotPermitted: "not permitted",
	OverQuota: "over quota", ServerFull: "server full", NoSuchShare: "no such share", BadShare: "bad share",
	TooSlow: "too slow", Busy: "busy", Abandoned: "abandoned", NotAccepted: "authority not accepted",
	WrongEnabler: "wrong write enabler",
}

// String is a short phrase.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("error %d", uint16(c))
}

// Error makes an *Error usable as a Go error.
func (e *Error) Error() string {
	s := e.Code.String()
	if e.Limit != "" {
		s += " (" + e.Limit + ")"
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is reports whether target is an *Error of the same code, so that
// errors.Is(err, &wire.Error{Code: wire.OverQuota}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// NewError makes an answer whose text is sure to validate: control characters
// become spaces, and what is too long is cut.
func NewError(c Code, text string) *Error {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "")
	}
	return &Error{Code: c, Text: text}
}

// String keeps secrets out of logs and errors.
func (Secret) String() string { return "(secret)" }

// GoString is String, for %#v.
func (Secret) GoString() string { return "(secret)" }
