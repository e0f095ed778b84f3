package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// maxManifest is how many objects a manifest under a handle lists at most: it
// is kept in memory. A stream has no such bound.
const maxManifest = 1_000_000

// shownManifest is how many of them a page shows.
const shownManifest = 10_000

// streamManifest writes a line for everything that can be reached, as it comes
// to it, and in the end one with the statistics. What goes wrong meanwhile is a
// line that begins with ERROR:.
func (q *request) streamManifest(l tarn.Found) error {
	q.w.Header().Set("Content-Type", jsonType)
	q.w.Header().Set("Cache-Control", "no-store")
	out := newLines(q.w)
	var stats tarn.DeepStats
	err := tarn.Walk(q.r.Context(), q.node, l, tarn.Walker{
		Visit: func(v tarn.Visited) error {
			if err := out.object(tahoe.LineOf(v)); err != nil {
				return err
			}
			return stats.Visit(v)
		},
		Enter: stats.Enter,
	}, q.how()...)
	stats.Done()
	return out.end(err, stats)
}

// lines are objects in JSON, one in each line. They go out after each directory
// at the latest when the buffer is full.
type lines struct {
	buffer *bufio.Writer
	json   *json.Encoder
}

func newLines(w io.Writer) *lines {
	buffer := bufio.NewWriterSize(w, 64<<10)
	return &lines{buffer, json.NewEncoder(tahoe.NewASCIIWriter(buffer))}
}

func (l *lines) object(o any) error { return l.json.Encode(o) }

// end writes the last line.
func (l *lines) end(failure error, stats tarn.DeepStats) error {
	var err error
	if failure != nil {
		_, err = fmt.Fprintf(l.buffer, "ERROR: %s\n", strings.Join(strings.Fields(failure.Error()), " "))
	} else {
		err = l.object(tahoe.StatsLineOf(stats))
	}
	if err != nil {
		return err
	}
	return l.buffer.Flush()
}

// census walks through a tree and counts; a manifest also lists.
type census struct {
	node tarn.DirectoryReader
	from tarn.Found
	how  []tarn.Option

	mu    sync.Mutex
	stats tarn.DeepStats
}

func (c *census) walk(ctx context.Context, visit func(tarn.Visited) error) error {
	count := c.counting()
	return tarn.Walk(ctx, c.node, c.from, tarn.Walker{
		Visit: func(v tarn.Visited) error {
			if err := count.Visit(v); err != nil {
				return err
			}
			return visit(v)
		},
		Enter: count.Enter,
	}, c.how...)
}

// counting is what a walk has to tell.
func (c *census) counting() tarn.Walker {
	return tarn.Walker{
		Visit: func(v tarn.Visited) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.stats.Visit(v)
		},
		Enter: func(v tarn.Visited, d *directory.Directory) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.stats.Enter(v, d)
		},
	}
}

// now are the statistics as they are.
func (c *census) now() tarn.DeepStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Done()
	return c.stats
}

func countFacts(s tarn.DeepStats) []fact {
	n := strconv.Itoa
	return []fact{
		{"Directories", n(s.Directories)}, {"Files", n(s.Files)},
		{"Immutable files", n(s.ImmutableFiles)}, {"Files in their capability", n(s.LiteralFiles)}, {"Mutable files", n(s.MutableFiles)},
		{"Of unknown kind", n(s.Unknown)},
		{"Size of immutable files", grid.FormatSize(s.SizeImmutableFiles + s.SizeLiteralFiles)},
		{"Size of directories", grid.FormatSize(s.SizeDirectories)},
		{"Largest file", grid.FormatSize(s.LargestImmutableFile)},
		{"Most entries in a directory", n(s.LargestDirectoryChildren)},
	}
}

// deepStats is t=start-deep-stats.
type deepStats struct{ census }

func (d *deepStats) run(ctx context.Context) error {
	return d.walk(ctx, func(tarn.Visited) error { return nil })
}

func (d *deepStats) writeJSON(w io.Writer, finished bool) error {
	return writeIndented(w, struct {
		tarn.DeepStats
		Finished bool `json:"finished"`
	}{d.now(), finished})
}

func (d *deepStats) writeText(w io.Writer, finished bool) error { return d.writeJSON(w, finished) }

func (d *deepStats) page(bool) operationView {
	return operationView{Title: "Statistics", Facts: countFacts(d.now())}
}

// deepSize is t=start-deep-size.
type deepSize struct{ deepStats }

func (d *deepSize) writeJSON(w io.Writer, finished bool) error {
	return json.NewEncoder(w).Encode(struct {
		Finished bool           `json:"finished"`
		Size     tarn.DeepStats `json:"size"`
	}{finished, d.now()})
}

func (d *deepSize) writeText(w io.Writer, finished bool) error {
	if !finished {
		_, err := io.WriteString(w, "finished: no\n")
		return err
	}
	s := d.now()
	_, err := fmt.Fprintf(w, "finished: yes\nsize: %d\n", s.SizeImmutableFiles+s.SizeDirectories)
	return err
}

func (d *deepSize) page(finished bool) operationView {
	v := d.deepStats.page(finished)
	s := d.now()
	v.Title, v.Facts = "Size", []fact{{"Size", grid.FormatSize(s.SizeImmutableFiles + s.SizeDirectories)}}
	return v
}

// manifest is t=start-manifest.
type manifest struct {
	census
	objects []tahoe.Line
}

func (m *manifest) run(ctx context.Context) error {
	return m.walk(ctx, func(v tarn.Visited) error {
		if len(m.objects) >= maxManifest {
			return wrong{http.StatusInsufficientStorage, "There are too many objects to keep a list of; use t=stream-manifest."}
		}
		o := tahoe.LineOf(v)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.objects = append(m.objects, o)
		return nil
	})
}

// found is what was come to so far.
func (m *manifest) found() []tahoe.Line {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clip(m.objects)
}

// writeJSON leaves the lists out while they grow, as Tahoe does.
func (m *manifest) writeJSON(w io.Writer, finished bool) error {
	answer := manifestJSON{Stats: m.now(), Finished: finished, Origin: tahoe.StorageIndexText(m.from.Capability())}
	if finished {
		answer.fill(m.found())
	}
	return writeIndented(w, answer)
}

type manifestJSON struct {
	Stats        tarn.DeepStats `json:"stats"`
	Finished     bool           `json:"finished"`
	Origin       string         `json:"origin"`
	Manifest     [][2]any       `json:"manifest,omitempty"` // path and capability
	Verify       []string       `json:"verifycaps,omitempty"`
	StorageIndex []string       `json:"storage-index,omitempty"`
}

func (m *manifestJSON) fill(objects []tahoe.Line) {
	for _, o := range objects {
		m.Manifest = append(m.Manifest, [2]any{o.Path, o.Cap})
		if o.Verify != "" {
			m.Verify = append(m.Verify, o.Verify)
		}
		if o.StorageIndex != "" {
			m.StorageIndex = append(m.StorageIndex, o.StorageIndex)
		}
	}
}

func (m *manifest) writeText(w io.Writer, finished bool) error {
	word := map[bool]string{true: "yes", false: "no"}[finished]
	if _, err := fmt.Fprintf(w, "finished: %s\n", word); err != nil {
		return err
	}
	for _, o := range m.found() {
		if _, err := fmt.Fprintf(w, "%s %s\n", strings.Join(o.Path, "/"), o.Cap); err != nil {
			return err
		}
	}
	return nil
}

func (m *manifest) page(bool) operationView {
	objects := m.found()
	v := operationView{Title: "Manifest", Facts: countFacts(m.now())}
	for _, o := range objects[:min(len(objects), shownManifest)] {
		v.Objects = append(v.Objects, listed{Path: strings.Join(o.Path, "/"), Link: objectPath(o.Cap), Kind: o.Type})
	}
	if left := len(objects) - shownManifest; left > 0 {
		v.Facts = append(v.Facts, fact{"Not shown here", strconv.Itoa(left)})
	}
	return v
}

func writeIndented(w io.Writer, object any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(object)
}

// postObject does what t= says with an object.
func (q *request) postObject() error {
	what := q.args.what()
	do, known := map[string]func(*request, tarn.Found) error{
		"stream-manifest":   (*request).streamManifest,
		"start-manifest":    (*request).startManifest,
		"start-deep-stats":  (*request).startDeepStats,
		"start-deep-size":   (*request).startDeepSize,
		"stream-deep-check": (*request).streamDeepCheck,
		"start-deep-check":  (*request).startDeepCheck,
		"check":             (*request).check,
	}[what]
	if change := changes[what]; change != nil {
		return change(q)
	}
	if !known {
		return badRequest("Unknown t= for POST.")
	}
	l, err := q.link()
	if err != nil {
		return err
	}
	if _, ok := l.Directory(); !ok && what != "check" {
		return badRequest("This is for directories.")
	}
	return do(q, l)
}

func (q *request) census(l tarn.Found) census {
	return census{node: q.node, from: l, how: q.how()}
}

func (q *request) startManifest(l tarn.Found) error {
	return q.startOperation(&manifest{census: q.census(l)})
}

func (q *request) startDeepStats(l tarn.Found) error {
	return q.startOperation(&deepStats{q.census(l)})
}

func (q *request) startDeepSize(l tarn.Found) error {
	return q.startOperation(&deepSize{deepStats{q.census(l)}})
}
