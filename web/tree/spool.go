package tree

import (
	"crypto/aes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/crypto/xts"
)

// sectorSize is how much is encrypted at a time, in bytes.
const sectorSize = 4096

// runSectors is how many whole ones are written at a time.
const runSectors = 16

// maxSpool is how long a file may be, and maxGap how far behind the end of a file
// something may be written, or how much longer it may be made, in bytes.
const (
	maxSpool = 1 << 45
	maxGap   = 1 << 30
)

// spool is a file of which any part can be written and read. It lies in a temporary
// file without a name, encrypted (XTS) under a key that is only here; what was not
// written is that of another file, or zero. It belongs to one goroutine at a time.
type spool struct {
	file    *os.File
	cipher  *xts.Cipher
	written map[int64]uint64 // sectors, a bit each, 64 to a word
	base    io.ReaderAt
	kept    int64 // so much of the base is there
	size    int64
	touched bool

	plain  [sectorSize]byte // one that is at hand
	secret [runSectors * sectorSize]byte
}

func newSpool(dir string, base io.ReaderAt, size int64) (*spool, error) {
	f, err := os.CreateTemp(dir, "draft-*")
	if err != nil {
		return nil, fmt.Errorf("spool the file: %w", withoutPath(err))
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("spool the file: %w", withoutPath(err)), f.Close())
	}
	var key [64]byte
	_, _ = rand.Read(key[:]) // never fails
	c, err := xts.NewCipher(aes.NewCipher, key[:])
	return &spool{file: f, cipher: c, written: map[int64]uint64{}, base: base, kept: size, size: size}, err
}

// withoutPath keeps the names of temporary files to ourselves.
func withoutPath(err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

func (s *spool) close() { _ = s.file.Close() } // nothing of it is wanted any more

func (s *spool) isWritten(sector int64) bool { return s.written[sector/64]&(1<<(sector%64)) != 0 }

func (s *spool) writeAt(p []byte, offset int64) (int, error) {
	switch {
	case offset < 0:
		return 0, fs.ErrInvalid
	case offset > maxSpool-int64(len(p)), offset-s.size > maxGap:
		return 0, ErrTooLarge
	}
	s.touched = true
	done := 0
	for done < len(p) {
		at := offset + int64(done)
		within, rest := int(at%sectorSize), len(p)-done
		n := min(sectorSize-within, rest)
		var err error
		if n == sectorSize {
			n = min(runSectors, rest/sectorSize) * sectorSize
			err = s.writeRun(at/sectorSize, p[done:done+n])
		} else {
			err = s.writePart(at/sectorSize, within, p[done:done+n])
		}
		if err != nil {
			return done, err
		}
		done += n
		s.size = max(s.size, at+int64(n))
	}
	return done, nil
}

// writePart writes into a sector.
func (s *spool) writePart(sector int64, within int, p []byte) error {
	if err := s.readSector(sector, s.plain[:]); err != nil {
		return err
	}
	copy(s.plain[within:], p)
	return s.writeRun(sector, s.plain[:])
}

// writeRun writes up to runSectors whole ones.
func (s *spool) writeRun(sector int64, p []byte) error {
	for at := 0; at < len(p); at += sectorSize {
		s.cipher.Encrypt(s.secret[at:at+sectorSize], p[at:at+sectorSize], uint64(sector+int64(at/sectorSize)))
	}
	if _, err := s.file.WriteAt(s.secret[:len(p)], sector*sectorSize); err != nil {
		return fmt.Errorf("spool the file: %w", withoutPath(err))
	}
	for n := range int64(len(p) / sectorSize) {
		s.written[(sector+n)/64] |= 1 << ((sector + n) % 64)
	}
	return nil
}

// readSector reads a sector, whose bytes beyond the end are zero.
func (s *spool) readSector(sector int64, plain []byte) error {
	at := sector * sectorSize
	if s.isWritten(sector) {
		if _, err := s.file.ReadAt(plain, at); err != nil {
			return fmt.Errorf("read what was spooled: %w", withoutPath(err))
		}
		s.cipher.Decrypt(plain, plain, uint64(sector))
		return nil
	}
	clear(plain)
	n := min(sectorSize, s.kept-at)
	if n <= 0 {
		return nil
	}
	_, err := s.base.ReadAt(plain[:n], at)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	done := 0
	for done < len(p) {
		at := offset + int64(done)
		if at >= s.size {
			return done, io.EOF
		}
		if err := s.readSector(at/sectorSize, s.plain[:]); err != nil {
			return done, err
		}
		end := min(sectorSize, s.size-at/sectorSize*sectorSize)
		done += copy(p[done:], s.plain[at%sectorSize:end])
	}
	return done, nil
}

// truncate makes it so long; what was cut off is zero when it is longer again.
func (s *spool) truncate(size int64) error {
	switch {
	case size < 0:
		return fs.ErrInvalid
	case size-s.size > maxGap:
		return ErrTooLarge
	case size == s.size:
		return nil
	}
	s.touched = true
	if size < s.size {
		if err := s.cut(size); err != nil {
			return err
		}
	}
	s.size = size
	return nil
}

func (s *spool) cut(size int64) error {
	s.kept = min(s.kept, size)
	sector, within := size/sectorSize, size%sectorSize
	if within > 0 && s.isWritten(sector) {
		if err := s.writePart(sector, int(within), make([]byte, sectorSize-within)); err != nil {
			return err
		}
		sector++
	} else if within > 0 {
		sector++ // what is kept of the base ends in it
	}
	for word, bits := range s.written {
		switch first := word * 64; {
		case first >= sector:
			delete(s.written, word)
		case first+64 > sector:
			s.written[word] = bits & (1<<(sector-first) - 1)
		}
	}
	return nil
}
