package tarn

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tarn-grid/tarn/actors/client"
)

// keyFolder implements client.KeyStore with one file for each key.
type keyFolder struct{ dir string }

var _ client.KeyStore = keyFolder{}

// maxKeyFile bounds the file of a key, in bytes.
const maxKeyFile = 8 << 10

// Take implements client.KeyStore. What can't be read goes, too.
func (f keyFolder) Take(n int) (keys [][]byte, left int, err error) {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	taken := entries[:min(n, len(entries))]
	for _, e := range taken {
		path := filepath.Join(f.dir, e.Name())
		key, readErr := readBounded(path, maxKeyFile)
		if err := os.Remove(path); err != nil {
			return nil, 0, err
		}
		if readErr == nil {
			keys = append(keys, key)
		}
	}
	if len(taken) > 0 {
		err = syncDir(f.dir)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("take keys of mutable files: %w", err)
	}
	return keys, len(entries) - len(taken), nil
}

// Put implements client.KeyStore.
func (f keyFolder) Put(key []byte) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(f.dir, rand.Text()), key)
}
