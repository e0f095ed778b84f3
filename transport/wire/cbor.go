package wire

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Errors of this package. Both mean that the other side broke the protocol
// (or, on sending, that this side was about to).
var (
	ErrMalformed = errors.New("malformed object")
	ErrTooLarge  = errors.New("object too large")
)

// Encoding is CBOR core deterministic (RFC 8949 section 4.2.1): one value has
// one spelling, so signed and golden bytes are stable.
// A nil list is written as an empty one.
var encoding = must(deterministic().EncMode())

func deterministic() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	return o
}

// Decoding ignores unknown fields, so that later versions may add some, and
// refuses what no encoder of ours writes: duplicate keys, indefinite lengths,
// tags, deep nesting, texts that are not UTF-8.
var decoding = must(cbor.DecOptions{
	DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	IndefLength:      cbor.IndefLengthForbidden,
	TagsMd:           cbor.TagsForbidden,
	MaxNestedLevels:  8,
	MaxArrayElements: MaxFoundLengths,
	MaxMapPairs:      64,
}.DecMode())

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // constant options
	}
	return mode
}

// unmarshal decodes data into a pointer to a struct, fixed-size byte strings
// having exactly their size.
func unmarshal(data []byte, into any) error {
	if err := decoding.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %s", ErrMalformed, err)
	}
	return checkShape(reflect.TypeOf(into).Elem(), data)
}
