package wire

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/tarn-grid/tarn/grid"
)

// Validate refuses a Hello without a version or with oversized features.
func (m *Hello) Validate() error {
	if m.Version == 0 {
		return malformed("hello without a version")
	}
	if len(m.Features) > MaxFeatures {
		return malformed("%d features, at most %d", len(m.Features), MaxFeatures)
	}
	for _, f := range m.Features {
		if err := checkText("feature", f, MaxFeature); err != nil {
			return err
		}
	}
	return nil
}

// Validate bounds chain and request; what they say is lease's business.
func (m *Login) Validate() error {
	if err := checkBytes("chain", m.Chain, 0, MaxChain); err != nil {
		return err
	}
	return checkBytes("login request", m.Request, 1, MaxLoginRequest)
}

// Validate bounds the reference.
func (m *Resume) Validate() error {
	return checkBytes("reference", m.Reference, 1, MaxReference)
}

// Validate has nothing to refuse.
func (m *LoginWithoutKey) Validate() error { return nil }

// Validate bounds the reference, which only a client without a key lacks.
func (m *LoggedIn) Validate() error {
	least := 1
	if m.Label.IsZero() {
		least = 0
	}
	return checkBytes("reference", m.Reference, least, MaxReference)
}

// Validate bounds the ranges.
func (m *Find) Validate() error { return checkRanges(m.Ranges) }

// Validate bounds shares and lengths.
func (m *Found) Validate() error {
	if len(m.Shares) > MaxFoundShares {
		return malformed("%d shares, at most %d", len(m.Shares), MaxFoundShares)
	}
	ranges := 0
	for _, s := range m.Shares {
		ranges += len(s.Lengths)
		if len(s.Lengths) > MaxRanges || ranges > MaxFoundLengths {
			return malformed("too many ranges in an answer")
		}
		if err := checkSize("share", s.Size); err != nil {
			return err
		}
	}
	_, err := m.bodySize()
	return err
}

// Validate bounds the ranges, of which there must be one.
func (m *Read) Validate() error {
	if len(m.Ranges) == 0 {
		return malformed("read without ranges")
	}
	return checkRanges(m.Ranges)
}

// Validate bounds the lengths.
func (m *Data) Validate() error {
	if len(m.Lengths) > MaxRanges {
		return malformed("%d lengths, at most %d", len(m.Lengths), MaxRanges)
	}
	_, err := m.bodySize()
	return err
}

// Validate refuses an empty or impossible share.
func (m *Allocate) Validate() error {
	if m.Size == 0 {
		return malformed("empty share")
	}
	if err := m.validateOthers(); err != nil {
		return err
	}
	return checkSize("share", m.Size)
}

// Validate refuses unknown states.
func (m *Allocated) Validate() error {
	if m.State < Coming || m.State > AlreadyHere {
		return malformed("unknown allocation state %d", m.State)
	}
	return checkSize("received part", m.Have)
}

// Validate bounds the text.
func (m *Stored) Validate() error { return checkText("text", m.Text, MaxText) }

// Validate accepts every value.
func (m *Abandon) Validate() error { return nil }

// Validate refuses share numbers out of order or twice.
func (m *AddLease) Validate() error {
	for i := 1; i < len(m.Nums); i++ {
		if m.Nums[i-1] >= m.Nums[i] {
			return malformed("share numbers not in ascending order")
		}
	}
	return nil
}

// Validate bounds the number of files, of which there must be one.
func (m *RenewLease) Validate() error {
	if n := len(m.StorageIndexes); n == 0 || n > MaxStorageIndexes {
		return malformed("%d storage indexes, want 1 to %d", n, MaxStorageIndexes)
	}
	return nil
}

// Validate accepts every value.
func (m *Leased) Validate() error { return nil }

// Validate accepts every value.
func (m *Usage) Validate() error { return nil }

// Validate refuses a quota where there is none.
func (m *UsageReport) Validate() error {
	if !m.HasQuota && m.Quota != 0 {
		return malformed("quota of %d where there is none", m.Quota)
	}
	return nil
}

// Validate accepts every value.
func (m *Done) Validate() error { return nil }

// Validate accepts every value.
func (m *OpenOffer) Validate() error { return nil }

// Validate bounds the range and what is held.
func (m *ReadOffer) Validate() error {
	if err := checkSize("held part", m.Have); err != nil {
		return err
	}
	return checkRanges([]Range{{Offset: m.Offset, Length: m.Length}})
}

// Validate bounds the announcement; OpenAnnouncement looks into it.
func (m *Publish) Validate() error {
	return checkBytes("announcement", m.Announcement, 1, MaxAnnouncement)
}

// Validate accepts every value.
func (m *Subscribe) Validate() error { return nil }

// Validate bounds the announcement; OpenAnnouncement looks into it.
func (m *Announce) Validate() error {
	return checkBytes("announcement", m.Announcement, 1, MaxAnnouncement)
}

// Validate refuses an error without a code and oversized texts.
func (e *Error) Validate() error {
	if e.Code == 0 {
		return malformed("error without a code")
	}
	if err := checkText("limit", e.Limit, MaxLimitName); err != nil {
		return err
	}
	return checkText("text", e.Text, MaxText)
}

// malformed says what is wrong with a value that may come from outside.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func checkBytes(what string, b []byte, least, most int) error {
	if len(b) < least || len(b) > most {
		return malformed("%s of %d bytes, want %d to %d", what, len(b), least, most)
	}
	return nil
}

// checkText bounds a text, and refuses what could steer a terminal.
func checkText(what, s string, most int) error {
	if len(s) > most {
		return malformed("%s of %d bytes, at most %d", what, len(s), most)
	}
	if !utf8.ValidString(s) {
		return malformed("%s is not UTF-8", what)
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return malformed("%s has control characters", what)
		}
	}
	return nil
}

func checkSize(what string, n uint64) error {
	if n > MaxShareSize {
		return malformed("%s of %d bytes, at most %d", what, n, uint64(MaxShareSize))
	}
	return nil
}

func checkRanges(rs []Range) error {
	if len(rs) > MaxRanges {
		return malformed("%d ranges, at most %d", len(rs), MaxRanges)
	}
	total := uint64(0)
	for _, r := range rs {
		if r.Length == 0 || r.Length > MaxRead {
			return malformed("range of %d bytes, want 1 to %d", r.Length, MaxRead)
		}
		if err := checkSize("offset", r.Offset); err != nil {
			return err
		}
		total += r.Length
	}
	if total > MaxRead {
		return malformed("ranges of %d bytes together, at most %d", total, MaxRead)
	}
	return nil
}

// sumLengths adds lengths that must fit one body.
func sumLengths(total uint64, lengths []uint64) (uint64, error) {
	for _, n := range lengths {
		if n > MaxBody || total+n > MaxBody {
			return 0, malformed("bytes of more than %d", MaxBody)
		}
		total += n
	}
	return total, nil
}

// bodySize is how long the body of the same frame must be.
func (m *Data) bodySize() (uint64, error) { return sumLengths(0, m.Lengths) }

// bodySize is how long the body of the same frame must be.
func (m *Found) bodySize() (total uint64, err error) {
	for _, s := range m.Shares {
		if total, err = sumLengths(total, s.Lengths); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// checkBody refuses a body that does not go with the message: answers say how
// long theirs is, Allocate's is the beginning of the share, others have none.
func checkBody(m Message, n int) error {
	want := uint64(0)
	switch m := m.(type) {
	case *Allocate:
		if uint64(n) > m.Size {
			return malformed("%d bytes of a share of %d", n, m.Size)
		}
		return nil
	case *Stage:
		return m.checkBody(n)
	case *HelpData:
		if n == 0 || n > MaxHelpData {
			return malformed("%d bytes of a ciphertext, want 1 to %d", n, MaxHelpData)
		}
		return nil
	case interface{ bodySize() (uint64, error) }:
		want, _ = m.bodySize() // validated before
	}
	if uint64(n) != want {
		return malformed("body of %d bytes, want %d", n, want)
	}
	return nil
}

// hasDuplicates reports whether a value occurs twice in a short list.
func hasDuplicates[T comparable](list []T) bool {
	for i, v := range list {
		if slices.Contains(list[:i], v) {
			return true
		}
	}
	return false
}

// validateAnnouncement bounds what a server says of itself.
func validateAnnouncement(a grid.Announcement) error {
	if err := checkText("nickname", a.Nickname, MaxNickname); err != nil {
		return err
	}
	if err := checkHints(a.Hints); err != nil {
		return err
	}
	if err := checkBytes("permutation seed", a.PermutationSeed, 1, MaxPermutationSeed); err != nil {
		return err
	}
	if len(a.Accepts) > MaxAccepts || hasDuplicates(a.Accepts) {
		return malformed("more than %d account managers, or one twice", MaxAccepts)
	}
	if len(a.CertificateVersions) > MaxCertificateVersions || hasDuplicates(a.CertificateVersions) {
		return malformed("more than %d certificate versions, or one twice", MaxCertificateVersions)
	}
	return nil
}

// checkHints bounds hints and keeps them to printable ASCII, which every
// multiaddr is.
func checkHints(hints []grid.Hint) error {
	if len(hints) > MaxHints {
		return malformed("%d hints, at most %d", len(hints), MaxHints)
	}
	for _, h := range hints {
		if len(h) == 0 || len(h) > MaxHint || h[0] != '/' {
			return malformed("hint of %d bytes, want an address of at most %d", len(h), MaxHint)
		}
		for _, r := range h {
			if r <= ' ' || r >= 0x7f {
				return malformed("hint is not printable ASCII")
			}
		}
	}
	return nil
}
