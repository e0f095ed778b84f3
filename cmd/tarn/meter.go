package main

import (
	"fmt"
	"time"
)

// rateWindow is over how long a rate is measured, rateLeast over how long at least.
const (
	rateWindow = 10 * time.Second
	rateLeast  = time.Second
)

// meter is how far something is. What it shows follows from what it was told, and
// when.
type meter struct {
	what     string
	unit     string // what is counted beside bytes: file, object; empty for nothing
	counting bool   // not all of them were found yet
	done     amount
	all      amount   // bytes are -1 if that is not known
	samples  []sample // of the last while, the first one somewhat older
}

// amount is how much of something there is.
type amount struct{ files, bytes int64 }

// sample is how far it was at a time.
type sample struct {
	at   time.Time
	done amount
}

func newMeter(what string, bytes int64, start time.Time) meter {
	return meter{what: what, all: amount{bytes: bytes}, samples: []sample{{at: start}}}
}

// line is what is shown: copying 12 of 5000 files, 1.2 MB of 3.4 GB (0%), 5.6 MB/s,
// 10 minutes left.
func (m *meter) line(now time.Time) string {
	files, bytes := m.rates(now)
	text := m.what + " "
	known := !m.counting && m.all.bytes >= 0
	switch {
	case m.unit != "" && known:
		text += fmt.Sprintf("%d of %s, ", m.done.files, counted(m.all.files, m.unit))
	case m.unit == "object" && m.done.bytes == 0:
		return text + counted(m.done.files, m.unit) + fmt.Sprintf(", %.0f/s", files)
	case m.unit != "":
		text += counted(m.done.files, m.unit) + ", "
	}
	text += formatSize(m.done.bytes)
	if known {
		text += fmt.Sprintf(" of %s (%d%%)", formatSize(m.all.bytes), percent(m.done.bytes, m.all.bytes))
	}
	if bytes > 0 {
		text += ", " + formatSize(int64(bytes)) + "/s"
	}
	if left, ok := m.left(files, bytes); ok && known {
		text += ", " + roughly(left) + " left"
	}
	return text
}

// percent of a whole; what is more than all of it counts for all.
func percent(part, whole int64) int64 {
	if part >= whole {
		return 100
	}
	return int64(100 * float64(part) / float64(whole))
}

// rates are files and bytes a second in the last while, 0 before that can be told.
func (m *meter) rates(now time.Time) (files, bytes float64) {
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	m.samples = append(m.samples, sample{now, m.done})
	over := now.Sub(first.at)
	if over < rateLeast {
		return 0, 0
	}
	return float64(m.done.files-first.done.files) / over.Seconds(), float64(m.done.bytes-first.done.bytes) / over.Seconds()
}

// left is how long it takes yet: small files are told by their number, large ones
// by their bytes, and the longer time counts.
func (m *meter) left(files, bytes float64) (time.Duration, bool) {
	var longest float64
	for _, c := range []struct {
		left int64
		rate float64
	}{{m.all.files - m.done.files, files}, {m.all.bytes - m.done.bytes, bytes}} {
		if c.left <= 0 {
			continue
		}
		if c.rate <= 0 {
			return 0, false
		}
		longest = max(longest, float64(c.left)/c.rate)
	}
	if longest > float64(100*365*24*60*60) {
		return 0, false
	}
	return time.Duration(longest * float64(time.Second)), longest > 0
}

// cut leaves the last column free, where terminals would begin a line.
func cut(text string, columns int) string {
	if runes := []rune(text); columns > 0 && len(runes) >= columns {
		return string(runes[:columns-1])
	}
	return text
}
