package file

import (
	"fmt"

	"github.com/tarn-grid/tarn/grid"
)

// LIT is a file that is its own capability: URI:LIT:<data>. Data may be
// empty; a file of more than LITThreshold bytes should be stored instead, but
// a longer LIT can be read.
type LIT struct{ Data string }

// String is the capability's text, which is as secret as the file.
func (l LIT) String() string {
	return uriPrefix + string(KindLIT) + ":" + grid.EncodeBase32([]byte(l.Data))
}

// Kind is KindLIT.
func (LIT) Kind() Kind { return KindLIT }

// Writable is false.
func (LIT) Writable() bool { return false }

// Immutable is true.
func (LIT) Immutable() bool { return true }

// parseLIT knows the data's length from that of the text: 8 characters hold
// 5 bytes.
func parseLIT(fields string) (Capability, error) {
	data, err := grid.DecodeBase32(fields, len(fields)*5/8)
	if err != nil {
		return nil, fmt.Errorf("%w: data of LIT: %w", ErrMalformed, err)
	}
	return LIT{string(data)}, nil
}
