package tarn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// helperFiles implements helper.Spool with a file for each job: its ciphertext,
// or its result once it is done. A ciphertext is not synced: what a power failure
// spoils, the client finds out when it compares what was made of it.
type helperFiles struct{ dir string }

var _ helper.Spool = helperFiles{}

func (f nodeFolder) helperFiles() helperFiles { return helperFiles{f.private("helper", "spool")} }

const (
	partSuffix   = ".part"
	resultSuffix = ".json"
	// maxResultFile bounds the file of a result, in bytes.
	maxResultFile = 4 << 10
	// resultFormat is the version of it.
	resultFormat = 1
)

type resultRecord struct {
	Format       int    `json:"format"`
	StorageIndex []byte `json:"storage_index"`
	UEBHash      []byte `json:"ueb_hash"`
	Size         int64  `json:"size"`
	Pushed       int    `json:"pushed"`
	Found        int    `json:"found"`
	At           int64  `json:"at"`
}

func (f helperFiles) path(job wire.Secret, suffix string) string {
	return filepath.Join(f.dir, grid.EncodeBase32(job[:])+suffix)
}

// Sweep implements helper.Spool. A result that can't be read is as good as none.
func (f helperFiles) Sweep(before time.Time) (helper.Spooled, error) {
	s := helper.Spooled{Parts: map[wire.Secret]int64{}, Finished: map[wire.Secret]helper.Result{}}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return s, err
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		info, infoErr := e.Info()
		if infoErr != nil {
			continue // it has just gone
		}
		if info.ModTime().Before(before) {
			err = errors.Join(err, os.Remove(filepath.Join(f.dir, e.Name())))
			continue
		}
		f.take(&s, info)
	}
	return s, err
}

// take notes a file.
func (f helperFiles) take(s *helper.Spooled, info fs.FileInfo) {
	suffix := filepath.Ext(info.Name())
	var job wire.Secret
	b, err := grid.DecodeBase32(strings.TrimSuffix(info.Name(), suffix), len(job))
	if err != nil {
		return
	}
	job = wire.Secret(b)
	if suffix == partSuffix {
		s.Parts[job] = info.Size()
	} else if r, err := f.result(job); err == nil {
		s.Finished[job] = r
	}
}

func (f helperFiles) result(job wire.Secret) (helper.Result, error) {
	text, err := readBounded(f.path(job, resultSuffix), maxResultFile)
	if err != nil {
		return helper.Result{}, err
	}
	var r resultRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return helper.Result{}, err
	}
	out := helper.Result{Size: r.Size, Pushed: r.Pushed, Found: r.Found, At: r.At}
	if r.Format != resultFormat || copy(out.StorageIndex[:], r.StorageIndex) != len(r.StorageIndex) || len(r.UEBHash) != len(out.UEBHash) {
		return helper.Result{}, fmt.Errorf("result of a helper's job in format %d", r.Format)
	}
	copy(out.UEBHash[:], r.UEBHash)
	return out, nil
}

// ciphertext implements helper.File.
type ciphertext struct{ *os.File }

// Size implements helper.File.
func (c ciphertext) Size() (int64, error) {
	info, err := c.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Open implements helper.Spool.
func (f helperFiles) Open(job wire.Secret) (helper.File, error) {
	file, err := os.OpenFile(f.path(job, partSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return ciphertext{file}, nil
}

// Finish implements helper.Spool.
func (f helperFiles) Finish(job wire.Secret, r helper.Result) error {
	text, err := json.Marshal(resultRecord{resultFormat, r.StorageIndex[:], r.UEBHash[:], r.Size, r.Pushed, r.Found, r.At})
	if err != nil {
		return err
	}
	if err := writeFile(f.path(job, resultSuffix), text); err != nil {
		return err
	}
	return os.Remove(f.path(job, partSuffix))
}

// Remove implements helper.Spool.
func (f helperFiles) Remove(job wire.Secret) error {
	for _, suffix := range []string{partSuffix, resultSuffix} {
		if err := os.Remove(f.path(job, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
