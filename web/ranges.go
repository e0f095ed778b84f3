package web

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// errRange is a range outside of the file.
var errRange = errors.New("range not satisfiable")

// byteRange is what of a file is to be sent.
type byteRange struct {
	offset, length int64 // bytes
	partial        bool
}

// rangeOf reads Range (RFC 9110 section 14). One range is honoured; several,
// another unit, or a header that can't be read mean the whole file, as the
// RFC allows; so does an If-Range that names another content.
func rangeOf(r *http.Request, size int64, tag string) (byteRange, error) {
	whole := byteRange{length: size}
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return whole, nil
	}
	if condition := r.Header.Get("If-Range"); condition != "" && condition != tag {
		return whole, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole, nil
	}
	if first == "" {
		return suffixRange(last, size)
	}
	return innerRange(first, last, size)
}

// suffixRange is "-500", the last 500 bytes.
func suffixRange(text string, size int64) (byteRange, error) {
	n, ok := position(text)
	if !ok {
		return byteRange{length: size}, nil
	}
	n = min(n, size)
	if n == 0 {
		return byteRange{}, errRange
	}
	return byteRange{size - n, n, true}, nil
}

// innerRange is "100-199" or "100-".
func innerRange(first, last string, size int64) (byteRange, error) {
	from, ok := position(first)
	to, toOK := int64(math.MaxInt64), true
	if last != "" {
		to, toOK = position(last)
	}
	if !ok || !toOK || to < from {
		return byteRange{length: size}, nil
	}
	if from >= size {
		return byteRange{}, errRange
	}
	to = min(to, size-1)
	return byteRange{from, to - from + 1, true}, nil
}

// position reads digits; more of them than an int64 has are beyond any file.
func position(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}
