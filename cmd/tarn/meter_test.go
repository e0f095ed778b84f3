package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The line is a function of what was told, and when.
func TestMeter(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type told struct {
		after time.Duration
		done  amount
		want  string
	}
	for _, c := range []struct {
		name  string
		meter meter
		told  []told
	}{
		{"one file", newMeter("storing", 2_000_000, start), []told{
			{0, amount{}, "storing 0B of 2MB (0%)"},
			{500 * time.Millisecond, amount{bytes: 900_000}, "storing 900kB of 2MB (45%)"},
			{time.Second, amount{bytes: 1_000_000}, "storing 1MB of 2MB (50%), 1MB/s, 1 second left"},
			{2 * time.Second, amount{bytes: 2_000_000}, "storing 2MB of 2MB (100%), 1MB/s"},
		}},
		{"nobody knows how long", newMeter("checking", -1, start), []told{
			{time.Second, amount{bytes: 5_000}, "checking 5kB, 5kB/s"},
		}},
		{"nothing at all", newMeter("reading", 0, start), []told{{time.Second, amount{}, "reading 0B of 0B (100%)"}}},
		{"it slows down", newMeter("reading", 1_000_000_000, start), []told{
			{5 * time.Second, amount{bytes: 500_000_000}, "reading 500MB of 1GB (50%), 100MB/s, 5 seconds left"},
			{10 * time.Second, amount{bytes: 500_000_000}, "reading 500MB of 1GB (50%), 50MB/s, 10 seconds left"},
			{16 * time.Second, amount{bytes: 511_000_000}, "reading 511MB of 1GB (51%), 1MB/s, 8 minutes left"},
			{40 * time.Second, amount{bytes: 511_000_000}, "reading 511MB of 1GB (51%)"},
		}},
		{"still counting", meter{what: "copying", unit: "file", counting: true, all: amount{3, 9}, samples: []sample{{at: start}}}, []told{
			{time.Second, amount{1, 2_000}, "copying 1 file, 2kB, 2kB/s"},
			{2 * time.Second, amount{5, 4_000}, "copying 5 files, 4kB, 2kB/s"},
		}},
		{"objects", meter{what: "checking", unit: "object", counting: true, samples: []sample{{at: start}}}, []told{
			{0, amount{}, "checking 0 objects, 0/s"},
			{2 * time.Second, amount{files: 90}, "checking 90 objects, 45/s"},
			{4 * time.Second, amount{100, 4_000}, "checking 100 objects, 4kB, 1kB/s"},
		}},
		{"many small files", meter{what: "copying", unit: "file", all: amount{1001, 10_000}, samples: []sample{{at: start}}}, []told{
			{10 * time.Second, amount{1, 9_000}, "copying 1 of 1001 files, 9kB of 10kB (90%), 900B/s, 2 hours left"},
		}},
		{"large ones", meter{what: "copying", unit: "file", all: amount{2, 1_000_000}, samples: []sample{{at: start}}}, []told{
			{10 * time.Second, amount{1, 1_000}, "copying 1 of 2 files, 1kB of 1MB (0%), 100B/s, 2 hours left"},
			{12 * time.Second, amount{2, 1_000_000}, "copying 2 of 2 files, 1MB of 1MB (100%), 83.3kB/s"},
		}},
	} {
		for _, told := range c.told {
			c.meter.done = told.done
			if got := c.meter.line(start.Add(told.after)); got != told.want {
				t.Errorf("%s after %v: %q, want %q", c.name, told.after, got, told.want)
			}
		}
	}
}

// A line is drawn now and then, gives way to others, and is gone in the end.
func TestProgressOnATerminal(t *testing.T) {
	var out strings.Builder
	e := &env{stderr: &out, terminal: true, columns: func() int { return 40 }}
	p := e.filesProgress("copying")
	now := p.now()
	p.now = func() time.Time { return now }
	saw := func(want string) {
		t.Helper()
		if out.String() != want {
			t.Errorf("a person saw %q, want %q", out.String(), want)
		}
		out.Reset()
	}
	p.found(1_000)
	p.found(3_000)
	saw("\rcopying 0 files, 0B\x1b[K")
	p.counted()
	p.add(1_000)
	p.file()
	saw("")
	now = now.Add(time.Second)
	if _, err := io.WriteString(p, strings.Repeat("x", 500)); err != nil {
		t.Error(err)
	}
	saw("\rcopying 1 of 2 files, 1.5kB of 4kB (37%\x1b[K") // as much as there is room for
	p.beside(func() { fmt.Fprintln(&out, "left out: x") })
	saw("\r\x1b[Kleft out: x\n")
	p.beside(func() { fmt.Fprintln(&out, "left out: y") })
	saw("left out: y\n")
	now = now.Add(time.Second)
	p.file()
	p.end()
	p.file()
	p.end()
	saw("\rcopying 2 of 2 files, 1.5kB of 4kB (37%\x1b[K\r\x1b[K")
}

func TestWhatThereIsToBackUpIsCounted(t *testing.T) {
	folder := t.TempDir()
	for name, size := range map[string]int{"a": 10, "b.o": 100, "below/c": 1_000, ".git/d": 10_000, "below/.git/e": 100_000} {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &env{stderr: io.Discard, terminal: true}
	excluded, err := backupOptions{exclude: []string{"*.o"}, excludeVCS: true}.excluded(e)
	if err != nil {
		t.Fatal(err)
	}
	p := e.filesProgress("backing up")
	p.countFolder(t.Context(), folder, excluded)
	if want := (amount{2, 1_010}); p.meter.all != want || p.meter.counting {
		t.Errorf("%+v, want %+v", p.meter, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p = e.filesProgress("backing up")
	p.countFolder(ctx, folder, excluded)
	if !p.meter.counting {
		t.Error("what was broken off counts for all")
	}
}
