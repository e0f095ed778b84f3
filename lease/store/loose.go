package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// adoptKey is there while files may lie in shares/ of which the table has
// never heard: it was lost, or the files were put there.
var adoptKey = metaKey("adopting")

// Adopting reports whether the table was made anew beside files of shares, and
// EndAdopting was not called since.
func (s *Store) Adopting() (bool, error) {
	_, ok, err := s.get(adoptKey)
	return ok, err
}

// EndAdopting says that every file in shares/ was looked at.
func (s *Store) EndAdopting() error {
	b := batch{{key: adoptKey, delete: true}}
	if err := s.eng.applyLazily(b); err != nil {
		return err
	}
	s.follow(b)
	return nil
}

// fresh is what a new table begins with.
func (s *Store) fresh(newest uint64) (batch, error) {
	b := batch{{key: formatKey, value: encodeNumber(newest)}}
	names, err := s.LooseFolders()
	if len(names) > 0 {
		b.put(adoptKey, nil)
	}
	return b, err
}

func (s *Store) sharesDir() string { return s.fs.PathJoin(s.dir, "shares") }

// LooseFolders lists the folders in shares/, each with the files of many
// shares, for LooseShares.
func (s *Store) LooseFolders() ([]string, error) {
	names, err := s.fs.List(s.sharesDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the folders of shares: %w", err)
	}
	return names, nil
}

// LooseShares lists the files in such a folder which have the name of a share
// and are not the table's: it has no record of the share, or has its body
// elsewhere. Strays are the paths of other things, relative to the store's
// folder.
func (s *Store) LooseShares(folder string) (loose []lease.ShareID, strays []string, err error) {
	err = s.walkShares(folder, func(id lease.ShareID) error {
		share, ok, err := s.Share(id)
		if err == nil && (!ok || share.File == 0) && !s.files.isGoing(id) {
			loose = append(loose, id)
		}
		return err
	}, func(path string) { strays = append(strays, path) })
	return loose, strays, err
}

// walkShares goes through a folder in shares/.
func (s *Store) walkShares(folder string, share func(lease.ShareID) error, stray func(string)) error {
	path := s.fs.PathJoin(s.sharesDir(), folder)
	files, err := s.fs.List(path)
	if err != nil {
		if info, statErr := s.fs.Stat(path); statErr == nil && !info.IsDir() {
			stray(s.fs.PathJoin("shares", folder))
			return nil
		}
		return fmt.Errorf("list shares: %w", err)
	}
	for _, name := range files {
		si, err := grid.ParseStorageIndex(name)
		if err != nil || name[:2] != folder {
			stray(s.fs.PathJoin("shares", folder, name))
			continue
		}
		numbers, err := s.fs.List(s.fs.PathJoin(path, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // just deleted
		}
		if err != nil {
			return fmt.Errorf("list shares: %w", err)
		}
		for _, number := range numbers {
			num, err := grid.ParseShareNum(number)
			if err != nil {
				stray(s.fs.PathJoin("shares", folder, name, number))
				continue
			}
			if err := share(lease.ShareID{StorageIndex: si, Num: num}); err != nil {
				return err
			}
		}
	}
	return nil
}

// OpenLoose opens the file of such a share.
func (s *Store) OpenLoose(id lease.ShareID) (*Body, error) {
	f, err := s.fs.Open(s.sharePath(id))
	if err != nil {
		return nil, fmt.Errorf("open share %v: %w", id, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open share %v: %w", id, err), f.Close())
	}
	return &Body{ReaderAt: f, Size: info.Size(), close: f.Close}, nil
}

// NumberLoose gives such a file a number, for a lease.Body.
func (s *Store) NumberLoose() uint64 {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	s.files.last++
	return s.files.last
}
