package main

import (
	"errors"
	"math"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "1000": 1000, "5GB": 5e9, "5GiB": 5 << 30, "500M": 500e6, "500Mi": 500 << 20, "1k": 1000, "1K": 1000,
		"1kib": 1024, "1.5TB": 15e11, "0.5GiB": 1 << 29, "1.0MiB": 1 << 20, " 5 GB ": 5e9, "5gb": 5e9, "12B": 12,
		"9223372036854775807": math.MaxInt64, "8191PiB": 8191 << 50, "0.001kB": 1, "1.5KiB": 1536,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "GB", "-1", "-5GB", "+5", "5XB", "5GBB", "5 5GB", "1e9", "0x10", "1..5GB", "1.5.5GB", ".", ".5GB", "5,0GB",
		"9223372036854775808", "8192PiB", "10000PB", "99999999999999999999", "∞", "5GB\x00", "1.0000000000000000000001GB",
	} {
		if got, err := parseSize(text); !errors.Is(err, errBadSize) {
			t.Errorf("parseSize(%q) = %d, %v", text, got, err)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1: "1B", 999: "999B", 1000: "1kB", 1049: "1.05kB", 1 << 20: "1.05MB", 5e9: "5GB", 12_340_000: "12.3MB",
		123_400_000: "123MB", 100_000: "100kB", 1e18: "1000PB", -5000: "-5kB", math.MinInt64: "-9223PB",
	} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %s, want %s", n, got, want)
		}
	}
	if got := formatQuota(nil); got != "none" {
		t.Errorf("no quota is %s", got)
	}
}

func FuzzSizes(f *testing.F) {
	for _, text := range []string{"5GB", "5GiB", "500M", "1.5TB", "0.3GiB", "-1", "9223372036854775807"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseSize(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Errorf("parseSize(%q) = %d", text, n)
		}
		if again, err := parseSize(exactSize(n)); err != nil || again != n {
			t.Errorf("%q is %d, written %s, read %d, %v", text, n, exactSize(n), again, err)
		}
		if formatSize(n) == "" {
			t.Errorf("%d prints as nothing", n)
		}
	})
}
