package file

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Parse.
var (
	// ErrNotCapability means that text does not even look like one.
	ErrNotCapability = errors.New("not a capability")
	// ErrMalformed means that a capability of a known kind is damaged,
	// usually cut off or mistyped.
	ErrMalformed = errors.New("damaged capability")
	// ErrClaim means that the prefix "ro." or "imm." promises less authority
	// than the capability behind it gives.
	ErrClaim = errors.New("capability gives more than its prefix claims")
)

// Kind is what stands between "URI:" and the next colon, such as "CHK".
type Kind string

// Kinds of files. A directory's kind is "DIR2" and that of the file it is
// stored in, in the spelling of DirectoryKind.
const (
	KindCHK          Kind = "CHK"
	KindCHKVerifier  Kind = "CHK-Verifier"
	KindLIT          Kind = "LIT"
	KindSSK          Kind = "SSK"
	KindSSKRO        Kind = "SSK-RO"
	KindSSKVerifier  Kind = "SSK-Verifier"
	KindMDMF         Kind = "MDMF"
	KindMDMFRO       Kind = "MDMF-RO"
	KindMDMFVerifier Kind = "MDMF-Verifier"
)

// Capability is one of CHK, CHKVerifier, LIT, Mutable, Directory, Unknown.
type Capability interface {
	// String is the capability's text: a secret, except for verifiers.
	String() string
	// Kind names the sort of capability; it is no secret.
	Kind() Kind
	// Writable reports whether the holder can change what it names. An
	// unknown kind counts as writable unless its prefix denies it.
	Writable() bool
	// Immutable reports whether what it names can never change.
	Immutable() bool
}

// MaxText is the longest text that Parse looks at, in bytes. A literal
// directory can be longer than a literal file.
const MaxText = 64 << 10

const (
	uriPrefix      = "URI:"
	claimReadOnly  = "ro."
	claimImmutable = "imm."
)

// Parse reads a capability. Spaces and line ends around it are ignored, as is
// a prefix "ro." or "imm." that holds. A kind that this version doesn't know
// becomes an Unknown; a known kind in a bad spelling is an ErrMalformed.
func Parse(text string) (Capability, error) {
	text = strings.TrimSpace(text)
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrNotCapability, MaxText)
	}
	body, claim := cutClaim(text)
	if !looksLikeURI(body) {
		return nil, fmt.Errorf("%w: it should begin with %q", ErrNotCapability, uriPrefix)
	}
	c, err := parseBody(body)
	if err != nil {
		return nil, err
	}
	if _, unknown := c.(Unknown); unknown {
		return Unknown{text}, nil
	}
	if claim != "" && c.Writable() || claim == claimImmutable && !c.Immutable() {
		return nil, fmt.Errorf("%w: %s behind %q", ErrClaim, c.Kind(), claim)
	}
	return c, nil
}

func cutClaim(text string) (body, claim string) {
	for _, claim := range []string{claimReadOnly, claimImmutable} {
		if body, ok := strings.CutPrefix(text, claim); ok {
			return body, claim
		}
	}
	return text, ""
}

// looksLikeURI accepts "scheme:" and printable characters without spaces, so
// that a capability of a future version passes and a mistake does not.
func looksLikeURI(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || !isLetter(scheme[0]) {
		return false
	}
	for _, c := range []byte(scheme) {
		if !isLetter(c) && !strings.ContainsRune("0123456789+-.", rune(c)) {
			return false
		}
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func parseBody(text string) (Capability, error) {
	kind, fields, ok := cutKind(text)
	if !ok {
		return Unknown{text}, nil
	}
	if inner, ok := directoryInner[kind]; ok {
		c, err := parseFile(inner, fields)
		if err != nil {
			return nil, fmt.Errorf("directory: %w", err)
		}
		return Directory{c}, nil
	}
	if !fileKinds[kind] {
		return Unknown{text}, nil
	}
	return parseFile(kind, fields)
}

func cutKind(text string) (Kind, string, bool) {
	rest, ok := strings.CutPrefix(text, uriPrefix)
	kind, fields, colon := strings.Cut(rest, ":")
	return Kind(kind), fields, ok && colon
}

func parseFile(kind Kind, fields string) (Capability, error) {
	switch kind {
	case KindCHK:
		return parseCHK(fields)
	case KindCHKVerifier:
		return parseCHKVerifier(fields)
	case KindLIT:
		return parseLIT(fields)
	default:
		return parseMutable(kind, fields)
	}
}

var fileKinds = map[Kind]bool{
	KindCHK: true, KindCHKVerifier: true, KindLIT: true,
	KindSSK: true, KindSSKRO: true, KindSSKVerifier: true,
	KindMDMF: true, KindMDMFRO: true, KindMDMFVerifier: true,
}

// Unknown is a capability of a kind that this version cannot read. It is kept
// and handed on as it is.
type Unknown struct{ Text string }

// String is the text, unchanged.
func (u Unknown) String() string { return u.Text }

// Kind is what could be recognised: the kind after "URI:", or the scheme.
func (u Unknown) Kind() Kind {
	body, _ := cutClaim(u.Text)
	if kind, _, ok := cutKind(body); ok {
		return kind
	}
	scheme, _, _ := strings.Cut(body, ":")
	return Kind(scheme)
}

// Writable is false only if a prefix says so.
func (u Unknown) Writable() bool {
	_, claim := cutClaim(u.Text)
	return claim == ""
}

// Immutable is true only if the prefix "imm." says so.
func (u Unknown) Immutable() bool { return strings.HasPrefix(u.Text, claimImmutable) }
