package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/tahoe"
)

type manifestOptions struct {
	where        string // a place, - is standard input, empty the default alias
	authority    string // file, - or empty for the node's own
	storageIndex bool
	verifyCap    bool
	repairCap    bool
	raw          bool
}

func newManifest(e *env) *cobra.Command {
	var o manifestOptions
	c := &cobra.Command{
		Use:   "manifest [PLACE|-]",
		Short: "List all files and directories that can be reached from a directory",
		Long: `Prints a line for each file and directory that can be reached from PLACE: its
capability, and the path to it. Each is listed once, however many paths there are,
and directories that lead back to others are no trouble. Names that a terminal would
not take for text are quoted.

A directory that can't be read is named, and the rest is listed; the exit code is 9
then.

` + placeHelp + capSecrecy,
		Example: "  tarn manifest photos:\n  tarn manifest --verify-cap photos:2026 > for-the-repairer\n  tarn manifest --raw - < root.cap",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.where = strings.Join(args, "")
			return runManifest(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVarP(&o.storageIndex, "storage-index", "s", false, "print storage indexes alone")
	c.Flags().BoolVar(&o.verifyCap, "verify-cap", false, "print verify capabilities alone")
	c.Flags().BoolVar(&o.repairCap, "repair-cap", false, "print alone what is needed to repair each")
	c.Flags().BoolVarP(&o.raw, "raw", "r", false, "for programs: the lines of JSON that the gateway answers to t=stream-manifest")
	c.MarkFlagsMutuallyExclusive("storage-index", "verify-cap", "repair-cap", "raw")
	return c
}

func runManifest(ctx context.Context, e *env, o manifestOptions) error {
	t, err := e.reachable(o.where, o.authority)
	if err != nil {
		return err
	}
	defer t.node.Close()
	lines := rawLines(e)
	unread := 0
	end, err := t.node.Manifest(ctx, t.place, control.ManifestOptions{
		Object: func(l tahoe.Line) error {
			if o.raw {
				return lines.Encode(l)
			}
			return o.print(e, l)
		},
		Unread: e.noteUnread(&unread),
	})
	if err != nil {
		return fmt.Errorf("list: %w", t.folder.explain(err))
	}
	if o.raw {
		err = lines.Encode(tahoe.StatsLineOf(end.Stats))
	}
	return errors.Join(err, unreadVerdict(unread))
}

// rawLines writes what Tahoe's programs read.
func rawLines(e *env) *json.Encoder { return json.NewEncoder(tahoe.NewASCIIWriter(e.stdout)) }

// print writes the part of a line that is wanted, if there is one.
func (o manifestOptions) print(e *env, l tahoe.Line) error {
	text := l.Cap + " " + pathText(l.Path)
	switch {
	case o.storageIndex:
		text = l.StorageIndex
	case o.verifyCap:
		text = l.Verify
	case o.repairCap:
		text = l.Repair
	}
	if text == "" {
		return nil
	}
	return e.print("%s\n", strings.TrimSuffix(text, " "))
}

// pathText is a path, each name of it as shownName has it.
func pathText(path []string) string {
	names := make([]string, len(path))
	for i, name := range path {
		names[i] = shownName(name)
	}
	return strings.Join(names, "/")
}

// noteUnread names directories that can't be read, and counts them.
func (e *env) noteUnread(count *int) func(control.UnreadDirectory) error {
	return func(u control.UnreadDirectory) error {
		*count++
		e.warn("left out: what is in %s: %s", pathText(u.Path), u.Error)
		return nil
	}
}

func unreadVerdict(unread int) error {
	if unread == 0 {
		return nil
	}
	return fmt.Errorf("%w: what is in %s was not come to", errPartly, countedAs(unread, "directory", "directories"))
}

func countedAs(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

type statsOptions struct {
	where     string
	authority string
	raw       bool
}

func newStats(e *env) *cobra.Command {
	var o statsOptions
	c := &cobra.Command{
		Use:   "stats [PLACE|-]",
		Short: "Count the files and directories that can be reached from a directory, and their sizes",
		Long: `Goes through all files and directories that can be reached from PLACE, and tells how
many there are, how large they are, and how many have which size. Each counts once,
however many paths lead to it. The sizes of mutable files are in no sum.

` + placeHelp + capSecrecy,
		Example: "  tarn stats photos:\n  tarn stats --raw - < root.cap | jq '.[\"count-files\"]'",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.where = strings.Join(args, "")
			return runStats(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVarP(&o.raw, "raw", "r", false, "for programs: the JSON that the gateway answers to t=start-deep-stats")
	return c
}

func runStats(ctx context.Context, e *env, o statsOptions) error {
	t, err := e.reachable(o.where, o.authority)
	if err != nil {
		return err
	}
	defer t.node.Close()
	progress := e.counting("counting")
	defer progress.end()
	unread := 0
	end, err := t.node.Manifest(ctx, t.place, control.ManifestOptions{
		Unread:   e.noteUnread(&unread),
		Progress: func(p control.TreeProgress) { progress.objects(p.Objects, 0) },
	})
	progress.end()
	if err != nil {
		return fmt.Errorf("count: %w", t.folder.explain(err))
	}
	if o.raw {
		err = writeJSON(e.stdout, struct {
			tarn.DeepStats
			Finished bool `json:"finished"`
		}{end.Stats, true})
	} else {
		err = e.print("%s", statsText(end.Stats))
	}
	return errors.Join(err, unreadVerdict(unread))
}

// statsText is what Tahoe-LAFS prints, with its keys.
func statsText(s tarn.DeepStats) string {
	var b strings.Builder
	b.WriteString("Counts and Total Sizes:\n")
	for _, line := range []struct {
		key   string
		value int64
	}{
		{"count-immutable-files", int64(s.ImmutableFiles)}, {"count-mutable-files", int64(s.MutableFiles)}, {"count-literal-files", int64(s.LiteralFiles)},
		{"count-files", int64(s.Files)}, {"count-directories", int64(s.Directories)}, {"count-unknown", int64(s.Unknown)},
		{"size-immutable-files", s.SizeImmutableFiles}, {"size-literal-files", s.SizeLiteralFiles}, {"size-directories", s.SizeDirectories},
		{"largest-directory", s.LargestDirectory}, {"largest-directory-children", int64(s.LargestDirectoryChildren)}, {"largest-immutable-file", s.LargestImmutableFile},
	} {
		fmt.Fprintf(&b, "%26s: %d", line.key, line.value)
		if line.value > 1000 && !strings.HasPrefix(line.key, "count-") && line.key != "largest-directory-children" {
			fmt.Fprintf(&b, "    (%s)", formatSize(line.value))
		}
		b.WriteString("\n")
	}
	writeHistogram(&b, s.Histogram)
	return b.String()
}

// writeHistogram leaves a gap where classes are empty.
func writeHistogram(b *strings.Builder, classes [][3]int64) {
	if len(classes) == 0 {
		return
	}
	b.WriteString("Size Histogram:\n")
	width := len(fmt.Sprint(classes[len(classes)-1][1]))
	counts := 0
	for _, c := range classes {
		counts = max(counts, len(fmt.Sprint(c[2])))
	}
	for i, c := range classes {
		if i > 0 && c[0] != classes[i-1][1]+1 {
			fmt.Fprintf(b, "%*s...\n", width-1, "")
		}
		fmt.Fprintf(b, "%*d-%-*d : %-*d    up to %s\n", width, c[0], width, c[1], counts, c[2], formatSize(c[1]))
	}
}
