package main

import (
	"errors"
	"testing"
	"time"
)

func TestParseUntil(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, zone)
	for text, want := range map[string]string{
		"2027-01-31":           "2027-01-31T23:59:59+01:00",
		"2027-01-31 18:00":     "2027-01-31T18:00:00+01:00",
		"2027-01-31 18:00:05":  "2027-01-31T18:00:05+01:00",
		"2027-01-31T18:00:00Z": "2027-01-31T18:00:00Z",
		"30d":                  "2026-03-31T12:00:00+01:00",
		"2w":                   "2026-03-15T12:00:00+01:00",
		"12h":                  "2026-03-02T00:00:00+01:00",
		"1h30m":                "2026-03-01T13:30:00+01:00",
	} {
		if got, err := parseUntil(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "0d", "-3d", "d", "99999999999999999d", "999999999999w", "2027-02-30", "1.5d", "3 d"} {
		if got, err := parseUntil(text, now); !errors.Is(err, errBadTime) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestLeft(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		72 * time.Hour: "in 3 days", -5 * time.Hour: "5 hours ago", 90 * time.Second: "in 90 seconds", 10 * time.Minute: "in 10 minutes",
	} {
		if got := left(now.Add(d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
