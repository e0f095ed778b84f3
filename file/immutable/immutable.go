// Package immutable turns a file into shares and shares into a file, in the
// CHK format of Tahoe-LAFS 1.20: the same input gives the same capability and
// the same share bodies, byte for byte.
//
// Writing: KeyHasher derives the convergent key, Layout tells where everything
// in a share lies before a byte of it exists, Encoder makes the blocks segment
// by segment and then what surrounds them. CapOf does all of it and keeps only
// the capability.
//
// Checking: ShareVerifier takes one share as it streams by, in memory that
// does not grow with the file, and proves all that a share can prove itself.
//
// Reading: Reader holds what is known about the shares of one capability. It
// says which bytes to fetch, takes nothing that is not proven by the
// capability, and hands out the heavy work (checking a block, decoding a
// segment) as values that can be run anywhere.
//
// The package is pure: no clock, no disk, no goroutines. Formats:
// allmydata/immutable/layout.py, encode.py, upload.py of Tahoe-LAFS.
package immutable

import (
	"errors"

	"github.com/tarn-grid/tarn/grid"
)

// Errors that callers act on.
var (
	// ErrSize means that a file is not as long as was said beforehand, or
	// cannot be stored because it is empty or too long.
	ErrSize = errors.New("wrong file size")
	// ErrUEB means that a URI extension block is damaged, or contradicts
	// itself or the capability.
	ErrUEB = errors.New("bad URI extension block")
	// ErrCapability means that the numbers in a capability are not those of the
	// file that its hash names: it was copied wrongly.
	ErrCapability = errors.New("the capability was copied wrongly")
	// ErrHeader means that a share's header is damaged.
	ErrHeader = errors.New("bad share header")
	// ErrShare means that a share contradicts itself or the capability.
	ErrShare = errors.New("bad share")
	// ErrCiphertext means that blocks which are all genuine decode to a
	// ciphertext that the capability doesn't stand for: whoever made the file
	// made it so that its shares disagree.
	ErrCiphertext = errors.New("shares are genuine but do not give the file")
)

// ShareError says which share was proven bad, so that another one can take
// its place. It wraps ErrShare, ErrHeader or ErrUEB.
type ShareError struct {
	Share grid.ShareNum
	Err   error
}

func (e *ShareError) Error() string { return "share " + e.Share.String() + ": " + e.Err.Error() }

func (e *ShareError) Unwrap() error { return e.Err }
