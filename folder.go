package tarn

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// nodeFolder is what a running node keeps in its folder:
//
//	lock                       held while a process works here
//	access.blacklist           what this node does not give out, by its owner
//	storage/                   lease table and shares (lease/store)
//	tmp/                       files on their way in, encrypted; wiped at start
//	private/announcement.sequence  where the next process counts on
//	private/self               this client's key that was added to this server
//	private/reference.keys     what seals the references that this server hands out
//	private/references/        references that servers handed to this client
//	private/keys/              keys of mutable files that are nobody's yet
//	private/authorities/       what client add-authority was given
//	private/introducer-ID.yaml what that introducer announced
//	private/servers.yaml       what the node's owner says of servers
//	private/memberships/       account managers whose cards this client uses
//	private/usage/             what this aggregator collected, by server and by day
//	private/helper/            ciphertext that this helper was sent, what came of it
//	private/renewer/           caps by which this renewer renews, and their journals
//	private/repairer/          caps by which this repairer repairs, and what it found
//	private/manager/           members and servers of this account manager's grid
//	private/announcements      what was published to this introducer
//	private/journal/           what this client stored (lease/store)
type nodeFolder struct{ dir string }

func (f nodeFolder) path(parts ...string) string {
	return filepath.Join(append([]string{f.dir}, parts...)...)
}

func (f nodeFolder) private(parts ...string) string {
	return f.path(append([]string{"private"}, parts...)...)
}

// lock holds the folder until it is closed.
func (f nodeFolder) lock() (*os.File, error) {
	l, err := os.OpenFile(f.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the node's folder: %w", err)
	}
	if err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = l.Close() // it was never used
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrFolderInUse, f.dir)
		}
		return nil, fmt.Errorf("lock the node's folder: %w", err)
	}
	return l, nil
}

// prepare makes what is not there and wipes what a crash left.
func (f nodeFolder) prepare() error {
	if err := os.RemoveAll(f.path("tmp")); err != nil {
		return fmt.Errorf("wipe unfinished files: %w", err)
	}
	for _, dir := range []string{f.private(), f.private("references"), f.private("authorities"), f.path("tmp")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("prepare the node's folder: %w", err)
		}
	}
	return nil
}

// fileNameOf is the name of the file or folder of somebody, whose own name may
// have characters that a file's can't have.
func fileNameOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return grid.EncodeBase32(sum[:20])
}

// writeFile replaces a file so that a crash leaves the old one or the new one.
func writeFile(path string, content []byte) error {
	t, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(t.Name()) }() // it is gone when it was renamed
	_, err = t.Write(content)
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// referenceKeys reads what seals references, or makes it.
func (f nodeFolder) referenceKeys(random func([]byte)) (lease.ReferenceKeys, error) {
	path := f.private("reference.keys")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.newReferenceKeys(random)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys of references: %w", err)
	}
	var keys lease.ReferenceKeys
	for line := range strings.Lines(string(text)) {
		b, err := grid.DecodeBase32(strings.TrimSpace(line), referenceKeySize)
		if err != nil {
			return nil, fmt.Errorf("%s %w (delete it: clients will log in again)", path, ErrDamaged)
		}
		keys = append(keys, decodeReferenceKey(b))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s %w: it is empty (delete it: clients will log in again)", path, ErrDamaged)
	}
	return keys, nil
}

// referenceKeySize is an id of 4 bytes, big endian, and a secret of 32.
const referenceKeySize = 36

func decodeReferenceKey(b []byte) lease.ReferenceKey {
	id := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return lease.ReferenceKey{ID: id, Secret: [32]byte(b[4:])}
}

func (f nodeFolder) newReferenceKeys(random func([]byte)) (lease.ReferenceKeys, error) {
	b := make([]byte, referenceKeySize)
	random(b)
	if err := writeFile(f.private("reference.keys"), []byte(grid.EncodeBase32(b)+"\n")); err != nil {
		return nil, fmt.Errorf("write the keys of references: %w", err)
	}
	return lease.ReferenceKeys{decodeReferenceKey(b)}, nil
}

// sequence returns a number from which a process may count announcements,
// higher than all of earlier processes even if the clock was set back since.
func (f nodeFolder) sequence(now uint64) (uint64, error) {
	path := f.private("announcement.sequence")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read the announcements' sequence number: %w", err)
	}
	next := now
	if len(text) > 0 {
		before, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%s %w (delete it unless the clock was set back)", path, ErrDamaged)
		}
		next = max(now, before)
	}
	if err := writeFile(path, strconv.AppendUint(nil, next+announcementsPerProcess, 10)); err != nil {
		return 0, fmt.Errorf("write the announcements' sequence number: %w", err)
	}
	return next, nil
}

// announcementsPerProcess is how many numbers one process takes: it announces
// when its addresses change and when its storage branch restarts.
const announcementsPerProcess = 1000

// references implements client.ReferenceCache with a file for each server and
// credential.
type references struct{ dir string }

func (r references) path(server grid.ServerID, credential lease.CredentialID) string {
	return filepath.Join(r.dir, grid.EncodeBase32(server[:])+"-"+credential.String())
}

// Load implements client.ReferenceCache.
func (r references) Load(server grid.ServerID, credential lease.CredentialID) ([]byte, error) {
	b, err := os.ReadFile(r.path(server, credential))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Save implements client.ReferenceCache.
func (r references) Save(server grid.ServerID, credential lease.CredentialID, reference []byte) error {
	if old, err := os.ReadFile(r.path(server, credential)); err == nil && bytes.Equal(old, reference) {
		return nil
	}
	return writeFile(r.path(server, credential), reference)
}
