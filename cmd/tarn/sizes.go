package main

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn/grid"
)

// units of sizes. Those with an i are powers of 1024, the others of 1000; a
// missing B means the same.
var units = []struct {
	name  string
	bytes int64
}{
	{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// parseSize reads 5GB, 5GiB, 500M, 1.5 TB or a plain number of bytes. Upper
// and lower case are the same. The result is a whole number of bytes.
func parseSize(text string) (int64, error) {
	trimmed := strings.TrimSpace(text)
	end := strings.IndexFunc(trimmed, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(trimmed)
	}
	unit, ok := unitNamed(strings.TrimSpace(trimmed[end:]))
	if !ok {
		return 0, fmt.Errorf("%w: %q (want one such as 5GB, 5GiB or 500M)", errBadSize, text)
	}
	n, ok := scale(trimmed[:end], unit)
	if !ok {
		return 0, fmt.Errorf("%w: %q is no whole number of bytes, or too large", errBadSize, text)
	}
	return n, nil
}

func unitNamed(name string) (int64, bool) {
	if name == "" {
		return 1, true
	}
	for _, u := range units {
		if strings.EqualFold(name, u.name) || u.bytes > 1 && strings.EqualFold(name, strings.TrimSuffix(u.name, "B")) {
			return u.bytes, true
		}
	}
	return 0, false
}

// scale is number times unit; a fraction of a byte is refused, unless it comes
// from a decimal fraction of a binary unit, which is rounded down.
func scale(number string, unit int64) (int64, bool) {
	const longest = 40 // digits; more are no size
	if number == "" || number[0] == '.' || len(number) > longest {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	if !r.IsInt() && unit%1024 != 0 {
		return 0, false
	}
	whole := new(big.Int).Quo(r.Num(), r.Denom())
	return whole.Int64(), whole.IsInt64()
}

// formatSize is a size for people.
func formatSize(n int64) string { return grid.FormatSize(n) }

// exactSize is a size for a file of settings: parseSize gives n again.
func exactSize(n int64) string {
	for _, u := range units {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

// formatQuota is a quota for people.
func formatQuota(quota *int64) string {
	if quota == nil {
		return "none"
	}
	return formatSize(*quota)
}
