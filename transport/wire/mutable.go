package wire

import (
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Shares that can be changed. They are found and read as all others are; Mutate
// tests and writes them, as read-test-write of Tahoe-LAFS does.

// Mutate changes shares of one file where all tests hold, all of it or nothing,
// and gets the account leases on what it writes. A share that is new takes the
// write enabler, one that is there must have it. Body: of each share in order
// what its tests want, then what is written, unless that was staged. Answered by
// Mutated, or Error.
type Mutate struct {
	StorageIndex grid.StorageIndex  `cbor:"1,keyasint"`
	Enabler      lease.WriteEnabler `cbor:"2,keyasint"`
	Shares       []MutateShare      `cbor:"3,keyasint"` // by number
	// Reads come with the answer: those ranges of every share that is there, as it
	// was before.
	Reads []Range `cbor:"4,keyasint,omitempty"`
}

// MutateShare is what is wanted of one share. One that is not there reads as an
// empty one, and is made where something is written to it.
type MutateShare struct {
	_     struct{} `cbor:",toarray"`
	Num   grid.ShareNum
	Tests []Test
	// Writes are done in order, at places that may overlap; a gap before one
	// becomes zero bytes. Then the share is cut to Length, where Cut is set and
	// it is longer.
	Writes []Range
	Cut    bool
	Length uint64
	// Staged, if it is not zero, names what Stage brought for this share: the
	// bytes of its writes, one after the other.
	Staged Secret
}

// Test wants Length bytes of a share from Offset on, or as many of them as there
// are, to be the Wanted bytes that stand in the body.
type Test struct {
	_      struct{} `cbor:",toarray"`
	Offset uint64
	Length uint64
	Wanted uint64
}

// Mutated answers Mutate. Body: the ranges of the first share, then of the next.
type Mutated struct {
	Done bool `cbor:"1,keyasint"` // all tests held, and what was written is durable
	// Expires is the earliest end of the leases on what was written, Unix seconds.
	Expires int64 `cbor:"2,keyasint,omitempty"`
	// Shares are those that were there before, by number.
	Shares []MutableShare `cbor:"3,keyasint,omitempty"`
}

// MutableShare is a share that can be changed, as it was.
type MutableShare struct {
	_    struct{} `cbor:",toarray"`
	Num  grid.ShareNum
	Size uint64
	// Lengths of each range in the body, as far as the share went; empty where
	// there was no room for them in the answer.
	Lengths []uint64
}

// Stage brings bytes for a Mutate that would be too large for one frame. The
// first one with a Secret reserves room for a share of Size bytes, as which it
// counts until Mutate takes it, Unstage or the connection's end. Body: the bytes
// from Offset on. Answered by Done, or Error.
type Stage struct {
	StorageIndex grid.StorageIndex  `cbor:"1,keyasint"`
	Num          grid.ShareNum      `cbor:"2,keyasint"`
	Enabler      lease.WriteEnabler `cbor:"3,keyasint"`
	Secret       Secret             `cbor:"4,keyasint"`
	Size         uint64             `cbor:"5,keyasint"`
	Offset       uint64             `cbor:"6,keyasint"`
}

// Unstage gives up what was staged. Answered by Done.
type Unstage struct {
	Secret Secret `cbor:"1,keyasint"`
}

// Kind of a Mutate.
func (m *Mutate) Kind() Kind { return KindMutate }

// Kind of a Mutated.
func (m *Mutated) Kind() Kind { return KindMutated }

// Kind of a Stage.
func (m *Stage) Kind() Kind { return KindStage }

// Kind of an Unstage.
func (m *Unstage) Kind() Kind { return KindUnstage }

// Validate bounds shares, tests, writes and reads.
func (m *Mutate) Validate() error {
	if m.Enabler == (lease.WriteEnabler{}) {
		return malformed("no write enabler")
	}
	if len(m.Shares) > MaxMutateShares {
		return malformed("%d shares, at most %d", len(m.Shares), MaxMutateShares)
	}
	vectors := 0
	for i, s := range m.Shares {
		if i > 0 && m.Shares[i-1].Num >= s.Num {
			return malformed("shares not in ascending order")
		}
		if vectors += len(s.Tests) + len(s.Writes); vectors > MaxMutateVectors {
			return malformed("more than %d tests and writes", MaxMutateVectors)
		}
		if err := s.validate(); err != nil {
			return err
		}
	}
	if err := checkRanges(m.Reads); err != nil {
		return err
	}
	_, err := m.bodySize()
	return err
}

func (s MutateShare) validate() error {
	if len(s.Tests) > MaxTests {
		return malformed("%d tests of a share, at most %d", len(s.Tests), MaxTests)
	}
	for _, t := range s.Tests {
		if t.Length == 0 || t.Length > MaxTest || t.Wanted > t.Length {
			return malformed("a test of %d bytes for %d, at most %d", t.Length, t.Wanted, MaxTest)
		}
		if err := checkSize("offset", t.Offset); err != nil {
			return err
		}
	}
	for _, w := range s.Writes {
		if err := checkSize("offset", w.Offset); err != nil {
			return err
		}
		if w.Length == 0 {
			return malformed("a write of nothing")
		}
		if err := checkSize("write", w.Length); err != nil {
			return err
		}
		if err := checkSize("share", w.Offset+w.Length); err != nil {
			return err
		}
	}
	if !s.Cut && s.Length != 0 {
		return malformed("a length that is not used")
	}
	if s.Cut && s.Length == 0 {
		return malformed("a share that is cut to nothing")
	}
	return checkSize("share", s.Length)
}

// Writing reports whether anything is to become of the share.
func (s MutateShare) Writing() bool { return len(s.Writes) > 0 || s.Cut }

// Written is how many bytes the writes of a share have together.
func (s MutateShare) Written() (n uint64) {
	for _, w := range s.Writes {
		n += w.Length
	}
	return n
}

// bodySize is how long the body of the same frame must be.
func (m *Mutate) bodySize() (total uint64, err error) {
	var lengths []uint64
	for _, s := range m.Shares {
		for _, t := range s.Tests {
			lengths = append(lengths, t.Wanted)
		}
		if s.Staged != (Secret{}) {
			continue
		}
		for _, w := range s.Writes {
			lengths = append(lengths, w.Length)
		}
	}
	return sumLengths(0, lengths)
}

// Validate bounds shares and lengths.
func (m *Mutated) Validate() error {
	if len(m.Shares) > MaxFoundShares {
		return malformed("%d shares, at most %d", len(m.Shares), MaxFoundShares)
	}
	ranges := 0
	for i, s := range m.Shares {
		if i > 0 && m.Shares[i-1].Num >= s.Num {
			return malformed("shares not in ascending order")
		}
		if ranges += len(s.Lengths); len(s.Lengths) > MaxRanges || ranges > MaxFoundLengths {
			return malformed("too many ranges in an answer")
		}
		if err := checkSize("share", s.Size); err != nil {
			return err
		}
	}
	_, err := m.bodySize()
	return err
}

// bodySize is how long the body of the same frame must be.
func (m *Mutated) bodySize() (total uint64, err error) {
	for _, s := range m.Shares {
		if total, err = sumLengths(total, s.Lengths); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// Validate bounds the share and the part of it.
func (m *Stage) Validate() error {
	switch {
	case m.Enabler == (lease.WriteEnabler{}):
		return malformed("no write enabler")
	case m.Secret == (Secret{}):
		return malformed("nothing to name what is staged by")
	case m.Size == 0:
		return malformed("a share of nothing")
	}
	if err := checkSize("offset", m.Offset); err != nil {
		return err
	}
	return checkSize("share", m.Size)
}

// checkBody wants some bytes, within the share.
func (m *Stage) checkBody(n int) error {
	if n == 0 || m.Offset > m.Size || uint64(n) > m.Size-m.Offset {
		return malformed("%d bytes from %d for a share of %d", n, m.Offset, m.Size)
	}
	return nil
}

// Validate accepts every value.
func (m *Unstage) Validate() error { return nil }
