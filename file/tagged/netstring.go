package tagged

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// ErrNetstring means that bytes are not a netstring: a decimal length without
// leading zeros, ':', that many bytes, ','.
var ErrNetstring = errors.New("not a netstring")

// maxLengthDigits keeps a length within an int on every machine.
const maxLengthDigits = 9

// AppendNetstring appends value as a netstring to dst.
func AppendNetstring(dst, value []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(value)), 10)
	dst = append(dst, ':')
	dst = append(dst, value...)
	return append(dst, ',')
}

// NetstringLen is the length of a netstring of a value of n bytes.
func NetstringLen(n int) int { return len(strconv.Itoa(n)) + n + 2 }

// CutNetstring splits the netstring at the start of b from what follows it.
// value and rest share b's memory.
func CutNetstring(b []byte) (value, rest []byte, err error) {
	digits, _, ok := bytes.Cut(b[:min(len(b), maxLengthDigits+1)], []byte{':'})
	if !ok {
		return nil, nil, fmt.Errorf("%w: no length", ErrNetstring)
	}
	n, err := ParseDecimal(digits)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: length %q", ErrNetstring, digits)
	}
	body := b[len(digits)+1:]
	if int64(len(body)) < n+1 {
		return nil, nil, fmt.Errorf("%w: %d bytes announced, %d left", ErrNetstring, n, len(body))
	}
	if body[n] != ',' {
		return nil, nil, fmt.Errorf("%w: no comma after %d bytes", ErrNetstring, n)
	}
	return body[:n], body[n+1:], nil
}

// ParseDecimal reads a number in its one spelling: digits only, no leading
// zero, at most 2^63-1.
func ParseDecimal(b []byte) (int64, error) {
	n, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("read the number %q: %w", b, errors.Unwrap(err))
	}
	if len(b) > 1 && b[0] == '0' {
		return 0, fmt.Errorf("read the number %q: leading zero", b)
	}
	return int64(n), nil
}
