package mutable

import (
	"fmt"
	"math"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// Found is a share that was found, whose version was verified.
type Found struct {
	Prefix
	Share grid.ShareNum
}

// Version is a version of which shares were found.
type Version struct {
	Prefix
	Shares []grid.ShareNum // different ones, ascending
}

// Recoverable tells whether the shares are enough to read the version.
func (v Version) Recoverable() bool { return len(v.Shares) >= v.Needed }

// Versions sorts what was found by version, the newest first.
func Versions(found []Found) []Version {
	at := map[Prefix]int{}
	var all []Version
	for _, f := range found {
		i, ok := at[f.Prefix]
		if !ok {
			i = len(all)
			at[f.Prefix] = i
			all = append(all, Version{Prefix: f.Prefix})
		}
		all[i].Shares = append(all[i].Shares, f.Share)
	}
	for i := range all {
		slices.Sort(all[i].Shares)
		all[i].Shares = slices.Compact(all[i].Shares)
	}
	slices.SortStableFunc(all, func(a, b Version) int { return b.Compare(a.Prefix) })
	return all
}

// Best is the version that readers read: the newest that is recoverable. An
// ErrUnrecoverable says what is missing of the newest if none is.
func Best(versions []Version) (Version, error) {
	for _, v := range versions {
		if v.Recoverable() {
			return v, nil
		}
	}
	if len(versions) == 0 {
		return Version{}, fmt.Errorf("%w: none was found", ErrUnrecoverable)
	}
	v := versions[0]
	return Version{}, fmt.Errorf("%w: of version %d were found %d shares of the %d that are needed", ErrUnrecoverable, v.Seqnum, len(v.Shares), v.Needed)
}

// NextSeqnum is the sequence number of a version that comes after all that
// were found, recoverable or not; 1 if there are none.
func NextSeqnum(versions []Version) (uint64, error) {
	if len(versions) == 0 {
		return 1, nil
	}
	if versions[0].Seqnum == math.MaxUint64 {
		return 0, fmt.Errorf("%w: no sequence number comes after %d", ErrShare, versions[0].Seqnum)
	}
	return versions[0].Seqnum + 1, nil
}
