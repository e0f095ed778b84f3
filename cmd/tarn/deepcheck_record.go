package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// checkRecord is the storage indexes of what a deep check has found healthy, one
// after the other, in a file that is there until the check has come to its end.
type checkRecord struct {
	path string
	file *os.File
	out  *bufio.Writer
	err  error // the first one
}

// begunBefore is what the record of an interrupted check has.
type begunBefore struct {
	known []byte
	last  time.Time // when it was last written
}

// checkRecordPath is where the record of such a check is.
func (f folder) checkRecordPath(what any) (string, error) {
	text, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return filepath.Join(f.private("deep-checks"), hex.EncodeToString(sum[:16])), nil
}

// openCheckRecord begins a record, or goes on with one that is there. What a
// crash cut off is left out.
func openCheckRecord(path string, resume bool) (*checkRecord, begunBefore, error) {
	before, err := readCheckRecord(path, resume)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err != nil {
		return nil, before, fmt.Errorf("go on with an earlier check: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = file.Truncate(int64(len(before.known)))
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, before, notWritten(path, err)
	}
	return &checkRecord{path: path, file: file, out: bufio.NewWriter(file)}, before, nil
}

func readCheckRecord(path string, resume bool) (b begunBefore, err error) {
	if !resume {
		return b, nil
	}
	b.known, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	b.known = b.known[:len(b.known)-len(b.known)%len(grid.StorageIndex{})]
	info, err := os.Stat(path)
	if err != nil {
		return b, err
	}
	b.last = info.ModTime()
	return b, nil
}

// add notes something healthy; what has no shares is not worth it. A record that
// can't be written any more costs no check.
func (r *checkRecord) add(storageIndex string) {
	index, err := grid.ParseStorageIndex(storageIndex)
	if err != nil || r.err != nil {
		return
	}
	_, r.err = r.out.Write(index[:])
}

// end closes the record, and removes it if it is not needed any more; whether
// something is left to go on with.
func (r *checkRecord) end(done bool) (left bool, err error) {
	if !done && r.err == nil {
		r.err = r.out.Flush()
	}
	if size, err := r.file.Seek(0, io.SeekEnd); done || err == nil && size == 0 {
		return false, errors.Join(r.file.Close(), os.Remove(r.path))
	}
	return true, errors.Join(r.err, r.file.Close())
}
