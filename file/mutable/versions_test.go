package mutable_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

func version(seqnum uint64, root byte) mutable.Prefix {
	return mutable.Prefix{Layout: mutable.Layout{Needed: 2, Total: 5}, Seqnum: seqnum, Root: tagged.Hash{root}}
}

func found(p mutable.Prefix, shares ...grid.ShareNum) []mutable.Found {
	var all []mutable.Found
	for _, n := range shares {
		all = append(all, mutable.Found{Prefix: p, Share: n})
	}
	return all
}

func TestNewestRecoverableVersionIsChosen(t *testing.T) {
	salted := version(3, 9)
	salted.Salt[0] = 1
	for name, c := range map[string]struct {
		found []mutable.Found
		want  mutable.Prefix
		next  uint64
	}{
		"the only one":                      {found(version(1, 1), 0, 1), version(1, 1), 2},
		"the newer one":                     {slices.Concat(found(version(1, 9), 0, 1), found(version(2, 1), 2, 3)), version(2, 1), 3},
		"the newest has one share":          {slices.Concat(found(version(3, 1), 0), found(version(2, 1), 1, 2)), version(2, 1), 4},
		"the newest has one, twice":         {slices.Concat(found(version(3, 1), 0, 0), found(version(2, 1), 1, 2)), version(2, 1), 4},
		"two at once: greater root":         {slices.Concat(found(version(3, 1), 0, 1), found(version(3, 2), 2, 3)), version(3, 2), 4},
		"two at once, one too few":          {slices.Concat(found(version(3, 1), 0, 1), found(version(3, 2), 2)), version(3, 1), 4},
		"all but the salt the same":         {slices.Concat(found(salted, 0), found(version(3, 9), 1), found(version(2, 2), 1, 2)), version(2, 2), 4},
		"what was found first is no matter": {slices.Concat(found(version(5, 1), 4), found(version(4, 1), 0), found(version(5, 1), 3)), version(5, 1), 6},
	} {
		versions := mutable.Versions(c.found)
		got, err := mutable.Best(versions)
		if err != nil || got.Prefix != c.want {
			t.Errorf("%s: %+v (%v)", name, got, err)
		}
		if next, err := mutable.NextSeqnum(versions); err != nil || next != c.next {
			t.Errorf("%s: the next one is %d (%v), want %d", name, next, err, c.next)
		}
	}
}

func TestNoVersionIsChosenWithoutItsShares(t *testing.T) {
	for name, all := range map[string][]mutable.Found{
		"nothing":                nil,
		"one share of each":      slices.Concat(found(version(1, 1), 0), found(version(2, 1), 1)),
		"the same share, thrice": found(version(1, 1), 3, 3, 3),
	} {
		if got, err := mutable.Best(mutable.Versions(all)); !errors.Is(err, mutable.ErrUnrecoverable) {
			t.Errorf("%s: %+v (%v)", name, got, err)
		}
	}
	if n, err := mutable.NextSeqnum(nil); n != 1 || err != nil {
		t.Errorf("the first version is %d (%v)", n, err)
	}
	if n, err := mutable.NextSeqnum(mutable.Versions(found(version(math.MaxUint64, 1), 0))); err == nil {
		t.Errorf("after the last version comes %d", n)
	}
}
