package mutable

import (
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/file"
)

// Update is a write of Len bytes at offset Off into a version: the segments
// First to Last are encoded anew, and an Encoder keeps those before and after.
// What lies between the old end of the file and Off becomes zero bytes.
type Update struct {
	Old, New    Layout
	Off, Len    int64 // of what is written, in bytes
	First, Last int64 // the segments that change
}

// NewUpdate plans a write of n bytes, at least 1, at an offset that may lie
// past the end.
func NewUpdate(old Layout, off, n int64) (Update, error) {
	if off < 0 || n < 1 || off > file.MaxSize || n > file.MaxSize {
		return Update{}, fmt.Errorf("%w: %d bytes to write at offset %d", ErrSize, n, off)
	}
	layout := old
	layout.Size = max(old.Size, off+n)
	if old.Format == SDMF {
		layout.SegmentSize = roundUp(layout.Size, int64(old.Needed))
	}
	if err := layout.validate(); err != nil {
		return Update{}, err
	}
	u := Update{Old: old, New: layout, Off: off, Len: n}
	u.First = min(off, old.Size) / layout.SegmentSize
	u.Last = (off + n - 1) / layout.SegmentSize
	return u, nil
}

// old is the part of segment i that the old version has.
func (u Update) old(i int64) Section {
	from := i * u.New.SegmentSize
	return Section{from, max(from, min(from+u.New.SegmentLen(i), u.Old.Size))}
}

// NeedsOld tells whether segment i, which changes, keeps a part of its old
// content, so that it must be read first.
func (u Update) NeedsOld(i int64) bool {
	old := u.old(i)
	return old.Len() > 0 && (old.Off < u.Off || old.End > u.Off+u.Len)
}

// Content is the new content of segment i, from its old one, if NeedsOld wants
// it, and all the data that is written.
func (u Update) Content(i int64, old, data []byte) ([]byte, error) {
	if i < u.First || i > u.Last || int64(len(data)) != u.Len {
		return nil, fmt.Errorf("%w: segment %d and %d bytes to write (want segments %d to %d, and %d bytes)",
			ErrSize, i, len(data), u.First, u.Last, u.Len)
	}
	if want := u.old(i).Len(); u.NeedsOld(i) && int64(len(old)) != want {
		return nil, fmt.Errorf("%w: %d bytes of the old segment %d (want %d)", ErrSize, len(old), i, want)
	}
	content := make([]byte, u.New.SegmentLen(i))
	copy(content, old)
	from := i * u.New.SegmentSize
	start, end := max(from, u.Off), min(from+int64(len(content)), u.Off+u.Len)
	if start < end {
		copy(content[start-from:], data[start-u.Off:end-u.Off])
	}
	return content, nil
}

// Kept lists the segments that stay as they are, ascending.
func (u Update) Kept() []int64 {
	var kept []int64
	for i := range u.Old.NumSegments() {
		if i < u.First || i > u.Last {
			kept = append(kept, i)
		}
	}
	return slices.Clip(kept)
}
