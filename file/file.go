// Package file holds what names and shapes a file on the grid: capability
// strings and encoding parameters.
//
// Parse reads any capability into a typed value (CHK, CHKVerifier, LIT,
// Mutable, Directory, Unknown); its String method writes the same text back,
// so every value has exactly one spelling. Params are the numbers k, happy,
// N and segment size of an encoding.
//
// The formats are those of Tahoe-LAFS 1.20 (allmydata/uri.py). The package is
// pure, its values are immutable, comparable and safe to share. A capability
// is a secret: no error of this package repeats one.
package file

import (
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
)

// LITThreshold is the size in bytes up to which a file is written into its
// capability instead of being stored.
const LITThreshold = 55

// Bounds of what can be described. They keep every offset within an int64.
const (
	MaxSize        int64 = 1 << 50 // bytes of one file, 1 PiB
	MaxSegmentSize int64 = 1 << 28 // bytes of one segment, 256 MiB, all in memory
)

// Defaults of Tahoe-LAFS 1.20.
const (
	DefaultNeeded      = 3
	DefaultHappy       = 7
	DefaultTotal       = 10
	DefaultSegmentSize = 1 << 20
)

// ErrParams means that encoding parameters contradict each other or leave
// the bounds.
var ErrParams = errors.New("bad encoding parameters")

// Params say how a file is encoded: into Total shares, any Needed of which
// give it back, spread over at least Happy servers, SegmentSize bytes of it
// at a time (at most; a smaller file has one smaller segment).
type Params struct {
	Needed, Happy, Total int
	SegmentSize          int64 // bytes
}

// DefaultParams are 3 of 10, happy with 7 servers, segments of 1 MiB.
func DefaultParams() Params {
	return Params{DefaultNeeded, DefaultHappy, DefaultTotal, DefaultSegmentSize}
}

// Validate returns an ErrParams that names the first number that is wrong.
func (p Params) Validate() error {
	if err := checkShares(p.Needed, p.Total); err != nil {
		return err
	}
	if p.Happy < 1 || p.Happy > p.Total {
		return fmt.Errorf("%w: %d servers to be happy (want 1 to total=%d)", ErrParams, p.Happy, p.Total)
	}
	if p.SegmentSize < 1 || p.SegmentSize > MaxSegmentSize {
		return fmt.Errorf("%w: segment size %d (want 1 to %d bytes)", ErrParams, p.SegmentSize, MaxSegmentSize)
	}
	return nil
}

func checkShares(needed, total int) error {
	if total < 1 || total > grid.MaxShares {
		return fmt.Errorf("%w: %d shares in total (want 1 to %d)", ErrParams, total, grid.MaxShares)
	}
	if needed < 1 || needed > total {
		return fmt.Errorf("%w: %d shares needed of %d (want 1 to %d)", ErrParams, needed, total, total)
	}
	return nil
}
