package tarn

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
func (f helperFiles) Sweep(before time.Time, spare map[wire.Secret]bool) (helper.Spooled, error) {
	s := helper.Spooled{Parts: map[wire.Secret]helper.Part{}, Finished: map[wire.Secret]helper.Result{}}
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
		job, suffix, ok := jobOf(info.Name())
		if info.ModTime().Before(before) && !spare[job] {
			err = errors.Join(err, os.Remove(filepath.Join(f.dir, e.Name())))
			continue
		}
		if ok {
			f.take(&s, job, suffix)
		}
	}
	return s, err
}

// jobOf is what the name of a file says, if it is one of ours.
func jobOf(name string) (job wire.Secret, suffix string, ok bool) {
	suffix = filepath.Ext(name)
	b, err := grid.DecodeBase32(strings.TrimSuffix(name, suffix), len(job))
	if err != nil || suffix != partSuffix && suffix != resultSuffix {
		return job, suffix, false
	}
	return wire.Secret(b), suffix, true
}

// take notes a file.
func (f helperFiles) take(s *helper.Spooled, job wire.Secret, suffix string) {
	if suffix == partSuffix {
		s.Parts[job] = f.part(job)
	} else if r, err := f.result(job); err == nil {
		s.Finished[job] = r
	}
}

// part is what there is of a ciphertext. One whose head can't be read is empty:
// Open begins it anew.
func (f helperFiles) part(job wire.Secret) (p helper.Part) {
	file, err := os.Open(f.path(job, partSuffix))
	if err != nil {
		return p
	}
	defer file.Close() // it was only read
	if accounts, err := readHead(file); err == nil {
		p.Accounts = accounts
		p.Size, _ = ciphertext{file}.Size()
	}
	return p
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

// ciphertext implements helper.File: it follows a head that says whose it is.
type ciphertext struct{ *os.File }

// The head: a tag, how many accounts there are (4 bytes, big endian), and a key
// for each, filled up with zeros.
const (
	partTag  = "tarn spool v1\n\n\n"
	partHead = len(partTag) + 4 + helper.MaxAccounts*len(grid.PublicKey{})
)

// Size implements helper.File.
func (c ciphertext) Size() (int64, error) {
	info, err := c.Stat()
	if err != nil {
		return 0, err
	}
	return max(0, info.Size()-int64(partHead)), nil
}

// ReadAt implements helper.File.
func (c ciphertext) ReadAt(p []byte, offset int64) (int, error) {
	return c.File.ReadAt(p, offset+int64(partHead))
}

// WriteAt implements helper.File.
func (c ciphertext) WriteAt(p []byte, offset int64) (int, error) {
	return c.File.WriteAt(p, offset+int64(partHead))
}

// Open implements helper.Spool. What has no good head is emptied.
func (f helperFiles) Open(job wire.Secret, accounts []grid.PublicKey) (helper.File, error) {
	file, err := os.OpenFile(f.path(job, partSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = readHead(file); err != nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(headOf(accounts), 0)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return ciphertext{file}, nil
}

func headOf(accounts []grid.PublicKey) []byte {
	head := make([]byte, 0, partHead)
	head = append(head, partTag...)
	accounts = accounts[:min(len(accounts), helper.MaxAccounts)]
	head = binary.BigEndian.AppendUint32(head, uint32(len(accounts)))
	for _, a := range accounts {
		head = append(head, a[:]...)
	}
	return head[:partHead]
}

var errNoHead = errors.New("not a ciphertext that a helper keeps")

func readHead(file io.ReaderAt) ([]grid.PublicKey, error) {
	head := make([]byte, partHead)
	if _, err := file.ReadAt(head, 0); err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(head, []byte(partTag))
	n := binary.BigEndian.Uint32(head[len(partTag):])
	if !ok || n > helper.MaxAccounts {
		return nil, errNoHead
	}
	accounts := make([]grid.PublicKey, n)
	for i := range accounts {
		copy(accounts[i][:], rest[4+i*len(accounts[i]):])
	}
	return accounts, nil
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
