package wire

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// checkShape makes up for a leniency of the CBOR library, which cuts or pads
// a byte string of the wrong length to fit a fixed-size array: every array of
// bytes in t must stand in data as a byte string of that very length. data
// was decoded into a t before, so its structure is right.
func checkShape(t reflect.Type, data []byte) error {
	switch {
	case !hasFixed(t):
		return nil
	case t.Kind() == reflect.Array:
		return checkFixed(t.Len(), data)
	case t.Kind() == reflect.Slice:
		return checkElements(data, func(int) reflect.Type { return t.Elem() })
	case isPositional(t):
		return checkElements(data, func(i int) reflect.Type { return t.Field(i + 1).Type })
	}
	return checkFields(t, data)
}

// hasFixed reports whether there is an array of bytes anywhere in t.
func hasFixed(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return true
	case reflect.Slice:
		return hasFixed(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasFixed(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// isPositional reports whether a struct is written as an array; the field
// that says so is its first.
func isPositional(t reflect.Type) bool {
	return t.NumField() > 0 && t.Field(0).Name == "_"
}

// checkFixed wants a byte string of n < 256 bytes.
func checkFixed(n int, data []byte) error {
	head := []byte{0x40 | byte(n)}
	if n > 23 {
		head = []byte{0x58, byte(n)}
	}
	if len(data) != len(head)+n || string(data[:len(head)]) != string(head) {
		return malformed("want a byte string of %d bytes", n)
	}
	return nil
}

func checkElements(data []byte, typeOf func(i int) reflect.Type) error {
	var elements []cbor.RawMessage
	if err := decoding.Unmarshal(data, &elements); err != nil {
		return fmt.Errorf("%w: %s", ErrMalformed, err)
	}
	for i, raw := range elements {
		if err := checkShape(typeOf(i), raw); err != nil {
			return err
		}
	}
	return nil
}

func checkFields(t reflect.Type, data []byte) error {
	var fields map[int64]cbor.RawMessage
	if err := decoding.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("%w: %s", ErrMalformed, err)
	}
	for i := range t.NumField() {
		raw, present := fields[fieldKey(t.Field(i))]
		if !present {
			continue
		}
		if err := checkShape(t.Field(i).Type, raw); err != nil {
			return err
		}
	}
	return nil
}

// fieldKey is the number in a tag such as `cbor:"3,keyasint,omitempty"`.
func fieldKey(f reflect.StructField) int64 {
	number, _, _ := strings.Cut(f.Tag.Get("cbor"), ",")
	key, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		panic("wire: field " + f.Name + " without a number")
	}
	return key
}
