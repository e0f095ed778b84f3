package grid

import (
	"math"
	"strconv"
	"strings"
)

// decimalUnits are those in which people are told sizes.
var decimalUnits = []struct {
	name  string
	bytes int64
}{{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}}

// FormatSize is a size in bytes for people: three digits and a decimal unit,
// such as 1.05MB; sizes below a thousand bytes are exact.
func FormatSize(n int64) string {
	if n < 0 {
		return "-" + FormatSize(-max(n, -math.MaxInt64))
	}
	for _, u := range decimalUnits {
		if n >= u.bytes {
			return threeDigits(float64(n)/float64(u.bytes)) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

func threeDigits(f float64) string {
	decimals := 2
	if f >= 100 {
		decimals = 0
	} else if f >= 10 {
		decimals = 1
	}
	text := strconv.FormatFloat(f, 'f', decimals, 64)
	if decimals > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
