package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// errBadTime is a text that is no time.
var errBadTime = errors.New("not a time")

const day = 24 * time.Hour

// parseUntil reads when something ends: a date, up to the end of that day here;
// a time, 2027-01-31T18:00:00Z or 2027-01-31 18:00 here; or a duration from now
// on, 90d, 2w or 12h.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	d, ok := parseDuration(text)
	if !ok || d <= 0 {
		return time.Time{}, fmt.Errorf("%w: %q (want a date such as 2027-01-31, a time such as 2027-01-31T18:00:00Z, or a duration such as 30d or 12h)", errBadTime, text)
	}
	return now.Add(d), nil
}

// parseDuration knows days and weeks besides Go's units.
func parseDuration(text string) (time.Duration, bool) {
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			const most = int64(1<<63-1) / int64(7*day)
			return time.Duration(n) * unit, err == nil && n <= most
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

// left is how far away a time is, for people: in 3 days, 2 hours ago.
func left(t, now time.Time) string {
	d := t.Sub(now)
	text := roughly(d.Abs())
	if d < 0 {
		return text + " ago"
	}
	return "in " + text
}

func roughly(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	default:
		return counted(int64(d/time.Second), "second")
	}
}
