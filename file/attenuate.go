package file

import (
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
)

// ErrAttenuate means that there is no capability that does less: a literal
// file has no shares that could be verified, and an unknown kind doesn't tell
// how to derive another one.
var ErrAttenuate = errors.New("no such lesser capability")

// ReadOnly returns the capability that can do what c can but write. One that
// cannot write is returned as it is; an Unknown that may write is an
// ErrAttenuate.
func ReadOnly(c Capability) (Capability, error) {
	switch c := c.(type) {
	case Mutable:
		return c.ReadOnly(), nil
	case Directory:
		inner, err := ReadOnly(c.File)
		return Directory{inner}, err
	}
	if c.Writable() {
		return nil, fmt.Errorf("%w: read-only, of the unknown kind %s", ErrAttenuate, c.Kind())
	}
	return c, nil
}

// Verifier returns the capability that can only check the shares of what c
// names; an ErrAttenuate for LIT and Unknown.
func Verifier(c Capability) (Capability, error) {
	switch c := c.(type) {
	case CHK:
		return c.Verifier(), nil
	case CHKVerifier:
		return c, nil
	case Mutable:
		return c.Verifier(), nil
	case Directory:
		inner, err := Verifier(c.File)
		if err != nil {
			return nil, err
		}
		return Directory{inner}, nil
	default:
		return nil, fmt.Errorf("%w: verifier, of the kind %s", ErrAttenuate, c.Kind())
	}
}

// Readable reports whether the content of what c names can be read with it: of a
// file, or of the file that a directory lies in.
func Readable(c Capability) bool {
	switch c := c.(type) {
	case CHK, LIT:
		return true
	case Mutable:
		_, ok := c.ReadKey()
		return ok
	case Directory:
		return Readable(c.File)
	}
	return false
}

// StorageIndexOf is the name under which servers keep the shares of what c
// names; false if there are none, as of LIT, or it can't be told, as of Unknown.
func StorageIndexOf(c Capability) (grid.StorageIndex, bool) {
	switch c := c.(type) {
	case CHK:
		return c.StorageIndex(), true
	case CHKVerifier:
		return c.StorageIndex, true
	case Mutable:
		return c.StorageIndex(), true
	case Directory:
		return StorageIndexOf(c.File)
	}
	return grid.StorageIndex{}, false
}
