package lease

import "iter"

// HeldLease is a lease as its server lists it. Times are Unix seconds.
type HeldLease struct {
	Share            ShareID
	Size             int64 // bytes that it is charged for, without overhead
	Renewed, Expires int64
}

// Match is what a journal and a server say of the lease on one share; nil
// where one of them has none.
type Match struct {
	Mine   *JournalLease
	Theirs *HeldLease
}

// MatchKind says whether they agree.
type MatchKind uint8

// The kinds. All but Agree are differences.
const (
	Agree    MatchKind = iota
	Unknown            // the server has a lease that the journal does not know
	Lapsed             // the server has it no more
	Returned           // the journal says that it has lapsed, and it is there
	Shorter            // it ends earlier than the server said once
)

// String is a word for people.
func (k MatchKind) String() string {
	return [...]string{"agrees", "unknown", "lapsed", "returned", "shorter"}[k]
}

// Share is the share that the match is about.
func (m Match) Share() ShareID {
	if m.Theirs != nil {
		return m.Theirs.Share
	}
	return m.Mine.Share
}

// Kind compares the two. Ends that differ by less than the clocks may are the
// same.
func (m Match) Kind() MatchKind {
	switch {
	case m.Mine == nil:
		return Unknown
	case m.Theirs == nil && m.Mine.Lapsed == 0:
		return Lapsed
	case m.Theirs == nil:
		return Agree
	case m.Mine.Lapsed != 0:
		return Returned
	case m.Theirs.Expires < m.Mine.Expires-int64(ClockSkew.Seconds()):
		return Shorter
	}
	return Agree
}

// Reconcile walks through the leases of a journal and those of a server side
// by side, both in the order of their shares, and yields what each says of
// every share. The first error of any of the three ends it.
func Reconcile(mine iter.Seq2[JournalLease, error], theirs iter.Seq2[HeldLease, error], yield func(Match) error) error {
	nextMine, stopMine := iter.Pull2(mine)
	defer stopMine()
	nextTheirs, stopTheirs := iter.Pull2(theirs)
	defer stopTheirs()
	m, mErr, mOK := nextMine()
	t, tErr, tOK := nextTheirs()
	for mOK || tOK {
		if mOK && mErr != nil {
			return mErr
		}
		if tOK && tErr != nil {
			return tErr
		}
		var match Match
		order := compareHeads(m, mOK, t, tOK)
		if order <= 0 {
			match.Mine = new(m)
			m, mErr, mOK = nextMine()
		}
		if order >= 0 {
			match.Theirs = new(t)
			t, tErr, tOK = nextTheirs()
		}
		if err := yield(match); err != nil {
			return err
		}
	}
	return nil
}

// compareHeads says which of two lists goes on first.
func compareHeads(m JournalLease, mOK bool, t HeldLease, tOK bool) int {
	switch {
	case !tOK:
		return -1
	case !mOK:
		return 1
	}
	return m.Share.Compare(t.Share)
}
