package tarn

import (
	"maps"
	"math"
	"slices"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// DeepStats count what a walk came to; the field names in JSON, and what is
// counted, are those of Tahoe-LAFS (allmydata/deep_stats.py). Sizes are in
// bytes. Sizes of mutable files would have to be asked for, and are in no sum.
type DeepStats struct {
	Version                  int   `json:"api-version"`
	ImmutableFiles           int   `json:"count-immutable-files"`
	MutableFiles             int   `json:"count-mutable-files"`
	LiteralFiles             int   `json:"count-literal-files"`
	Files                    int   `json:"count-files"`
	Directories              int   `json:"count-directories"`
	Unknown                  int   `json:"count-unknown"`
	SizeImmutableFiles       int64 `json:"size-immutable-files"`
	SizeLiteralFiles         int64 `json:"size-literal-files"`
	SizeDirectories          int64 `json:"size-directories"`
	LargestDirectory         int64 `json:"largest-directory"`
	LargestDirectoryChildren int   `json:"largest-directory-children"`
	LargestImmutableFile     int64 `json:"largest-immutable-file"`
	// Histogram is of the sizes of immutable and literal files: least and most
	// of a class, and how many files are in it.
	Histogram [][3]int64 `json:"size-files-histogram"`

	classes map[[2]int64]int64
}

// Visit counts an object.
func (s *DeepStats) Visit(v Visited) error {
	s.Version = 1
	switch c := v.Capability().(type) {
	case file.Directory:
		s.Directories++
	case file.Mutable:
		s.Files++
		s.MutableFiles++
	case file.LIT:
		s.LiteralFiles++
		s.SizeLiteralFiles += int64(len(c.Data))
		s.immutable(int64(len(c.Data)))
	case file.CHK:
		s.ImmutableFiles++
		s.SizeImmutableFiles += c.Size
		s.LargestImmutableFile = max(s.LargestImmutableFile, c.Size)
		s.immutable(c.Size)
	default:
		s.Unknown++
	}
	return nil
}

func (s *DeepStats) immutable(size int64) {
	s.Files++
	if s.classes == nil {
		s.classes = map[[2]int64]int64{}
	}
	s.classes[sizeClass(size)]++
}

// Enter counts what a directory holds.
func (s *DeepStats) Enter(_ Visited, d *directory.Directory) error {
	size := d.Size()
	s.SizeDirectories += size
	s.LargestDirectory = max(s.LargestDirectory, size)
	s.LargestDirectoryChildren = max(s.LargestDirectoryChildren, d.Len())
	return nil
}

// Done fills the histogram in.
func (s *DeepStats) Done() {
	s.Version = 1
	s.Histogram = [][3]int64{}
	for _, class := range slices.SortedFunc(maps.Keys(s.classes), func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) }) {
		s.Histogram = append(s.Histogram, [3]int64{class[0], class[1], s.classes[class]})
	}
}

// sizeClass is the class of a size, of which there are two for each power of
// ten: 0, 1-3, 4-10, 11-31, 32-100 and so on.
func sizeClass(size int64) [2]int64 {
	if size == 0 {
		return [2]int64{0, 0}
	}
	least := int64(1)
	for i := 1; ; i++ {
		most := int64(math.Pow(10, float64(i)/2))
		if size <= most {
			return [2]int64{least, most}
		}
		least = most + 1
	}
}
