package tarn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-grid/tarn/grid"
)

// ErrIntroducerRef is a text that is no reference of an introducer.
var ErrIntroducerRef = errors.New("not a reference of an introducer")

const (
	introducerPrefix = "tarn:introducer/"
	// maxReferenceHints and maxReferenceHint (bytes) are far above what any
	// introducer has and keep a pasted text from becoming a lot of work.
	maxReferenceHints = 32
	maxReferenceHint  = 512
)

// String is the text form, tarn:introducer/v0-…@/ip4/192.0.2.7/tcp/3456.
func (r IntroducerRef) String() string { return placeText(introducerPrefix, r.Server, r.Hints) }

// placeText is a reference of a node that has a role.
func placeText(prefix string, server grid.ServerID, hints []grid.Hint) string {
	texts := make([]string, len(hints))
	for i, hint := range hints {
		texts[i] = string(hint)
	}
	return prefix + server.String() + "@" + strings.Join(texts, ",")
}

// ParseIntroducerRef reads the text form; blanks around it are ignored. There
// must be at least one address, and none twice. Whether an address can be
// dialled is for transport to say.
func ParseIntroducerRef(text string) (IntroducerRef, error) {
	server, hints, err := parsePlace(introducerPrefix, text)
	if err != nil {
		return IntroducerRef{}, fmt.Errorf("%w: %w", ErrIntroducerRef, err)
	}
	return IntroducerRef{Server: server, Hints: hints}, nil
}

// parsePlace reads what placeText wrote.
func parsePlace(prefix, text string) (grid.ServerID, []grid.Hint, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok {
		return grid.ServerID{}, nil, fmt.Errorf("it should begin with %s", prefix)
	}
	server, addresses, ok := strings.Cut(rest, "@")
	if !ok {
		return grid.ServerID{}, nil, errors.New("no @ between the key and the addresses, so it may be cut off")
	}
	id, err := grid.ParseServerID(server)
	if err != nil {
		return grid.ServerID{}, nil, err
	}
	hints, err := parseReferenceHints(addresses)
	return id, hints, err
}

func parseReferenceHints(addresses string) ([]grid.Hint, error) {
	texts := strings.Split(addresses, ",")
	if len(texts) > maxReferenceHints {
		return nil, fmt.Errorf("%d addresses (want at most %d)", len(texts), maxReferenceHints)
	}
	hints := make([]grid.Hint, 0, len(texts))
	seen := make(map[string]bool, len(texts))
	for _, text := range texts {
		if err := checkReferenceHint(text); err != nil {
			return nil, err
		}
		if seen[text] {
			return nil, fmt.Errorf("address %q stands there twice", text)
		}
		seen[text] = true
		hints = append(hints, grid.Hint(text))
	}
	return hints, nil
}

// checkReferenceHint knows of a multiaddr only that it is printable, starts
// with a slash and has a name and a value.
func checkReferenceHint(text string) error {
	if len(text) > maxReferenceHint {
		return fmt.Errorf("an address of %d bytes (want at most %d)", len(text), maxReferenceHint)
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '@' {
			return fmt.Errorf("address %q has a character that none can have", text)
		}
	}
	name, value, ok := strings.Cut(strings.TrimPrefix(text, "/"), "/")
	if !strings.HasPrefix(text, "/") || !ok || name == "" || value == "" {
		return fmt.Errorf("address %q (want one such as /ip4/192.0.2.7/tcp/3456)", text)
	}
	return nil
}

// MarshalText is String, so that JSON and YAML show the text form.
func (r IntroducerRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseIntroducerRef.
func (r *IntroducerRef) UnmarshalText(text []byte) error {
	parsed, err := ParseIntroducerRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
