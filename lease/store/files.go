package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/lease"
)

// SmallShare is the size in bytes up to which a share's body lies in the table,
// in the same batch as its lease: one sync and no block of the filesystem for
// itself. Larger ones are files.
const SmallShare = 32 << 10

const shareFile = vfs.DiskWriteCategory("tarn-share")

// sealed is a durable file in incoming/ and the share that it became.
type sealed struct {
	id   lease.ShareID
	file uint64
}

// files is what the store knows of bodies beside the table.
type files struct {
	mu      sync.Mutex
	last    uint64                     // newest number of a file
	sealed  map[uint64]struct{}        // durable in incoming/, nobody's yet
	pending map[lease.ShareID][]uint64 // STABLE, still in incoming/; several where one takes the place of the other
	going   map[lease.ShareID]struct{} // to be deleted
	durable map[string]struct{}        // folders in shares/ that survive a power cut
	stripes [64]sync.Mutex             // one thing at a time is done to a share's file
	// moves keeps a sync of incoming/ from making the disappearance of a name
	// durable before its new name is.
	moves sync.RWMutex
}

func (f *files) stripe(id lease.ShareID) *sync.Mutex {
	return &f.stripes[(id.StorageIndex[0]^byte(id.Num))%64]
}

func (f *files) isSealed(file uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.sealed[file]
	return ok
}

func (f *files) isGoing(id lease.ShareID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.going[id]
	return ok
}

// claim follows a Change that is about to be applied.
func (f *files) claim(moved []sealed, going, settled []lease.ShareID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range moved {
		delete(f.sealed, m.file)
		f.pending[m.id] = append(f.pending[m.id], m.file)
	}
	for _, id := range settled {
		delete(f.going, id)
	}
	for _, id := range going {
		f.going[id] = struct{}{}
	}
}

func (f *files) isPending(id lease.ShareID, file uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.pending[id], file)
}

func (f *files) placed(m sealed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending[m.id] = slices.DeleteFunc(f.pending[m.id], func(file uint64) bool { return file == m.file })
	if len(f.pending[m.id]) == 0 {
		delete(f.pending, m.id)
	}
}

func (s *Store) incomingDir() string { return s.fs.PathJoin(s.dir, "incoming") }

func (s *Store) incomingPath(file uint64) string {
	return s.fs.PathJoin(s.incomingDir(), strconv.FormatUint(file, 10))
}

// shareDirs is the folders of a share's file, outermost first.
func (s *Store) shareDirs(id lease.ShareID) []string {
	si := id.StorageIndex.String()
	all := s.fs.PathJoin(s.dir, "shares")
	two := s.fs.PathJoin(all, si[:2])
	return []string{all, two, s.fs.PathJoin(two, si)}
}

func (s *Store) sharePath(id lease.ShareID) string {
	return s.fs.PathJoin(s.shareDirs(id)[2], id.Num.String())
}

// startFiles finishes the moves that a crash interrupted and wipes the rest of
// incoming/.
func (s *Store) startFiles() error {
	s.files.sealed = map[uint64]struct{}{}
	s.files.pending = map[lease.ShareID][]uint64{}
	s.files.going = map[lease.ShareID]struct{}{}
	s.files.durable = map[string]struct{}{}
	if err := s.makeDirs(s.incomingDir(), s.fs.PathJoin(s.dir, "shares")); err != nil {
		return err
	}
	if err := s.finishMoves(); err != nil {
		return fmt.Errorf("finish moving shares: %w", err)
	}
	going, err := s.Going()
	if err != nil {
		return err
	}
	for _, g := range going {
		s.files.going[g.ID] = struct{}{}
	}
	return s.wipe()
}

func (s *Store) finishMoves() error {
	var moves []sealed
	err := s.scanAll([]byte{tagPending}, func(key, _ []byte) error {
		file := uint64(be32(key[shareKeySize:]))<<32 | uint64(be32(key[shareKeySize+4:]))
		moves = append(moves, sealed{shareOf(key[1:]), file})
		return nil
	})
	if err != nil {
		return err
	}
	var done batch
	for _, m := range moves {
		s.files.pending[m.id] = append(s.files.pending[m.id], m.file)
		done.delete(pendingKey(m.id, m.file))
	}
	for _, m := range moves {
		if err := s.place(m); err != nil {
			return err
		}
	}
	return s.durably(done)
}

// durably applies a batch and waits for it, if there is anything in it. Numbers of files
// begin anew with each start, so a move that is done must be forgotten durably
// before there is a new file: after another crash it would be done again, to
// that one's bytes.
func (s *Store) durably(b batch) error {
	if len(b) == 0 {
		return nil
	}
	wait, err := s.eng.apply(b)
	if err != nil {
		return err
	}
	return wait()
}

func (s *Store) wipe() error {
	names, err := s.fs.List(s.incomingDir())
	if err != nil {
		return fmt.Errorf("list incoming: %w", err)
	}
	for _, name := range names {
		if err := s.fs.RemoveAll(s.fs.PathJoin(s.incomingDir(), name)); err != nil {
			return fmt.Errorf("wipe incoming: %w", err)
		}
	}
	return nil
}

// move places a file and forgets that it was to be done.
func (s *Store) move(m sealed) error {
	if err := s.place(m); err != nil {
		return err
	}
	return s.eng.applyLazily(batch{{key: pendingKey(m.id, m.file), delete: true}})
}

// place renames incoming/<n> to its share's name and makes that durable. A file
// whose share was replaced in the meantime is deleted instead.
func (s *Store) place(m sealed) error {
	lock := s.files.stripe(m.id)
	lock.Lock()
	defer lock.Unlock()
	share, ok, err := s.Share(m.id)
	if err != nil {
		return err
	}
	if ok && share.File == m.file {
		err = s.rename(m)
	} else {
		err = s.removeIfThere(s.incomingPath(m.file))
	}
	if err != nil {
		return err
	}
	s.files.placed(m)
	return nil
}

func (s *Store) rename(m sealed) error {
	s.files.moves.RLock()
	defer s.files.moves.RUnlock()
	dirs := s.shareDirs(m.id)
	if err := s.fs.MkdirAll(dirs[2], 0o700); err != nil {
		return fmt.Errorf("make folder %s: %w", dirs[2], err)
	}
	err := s.fs.Rename(s.incomingPath(m.file), s.sharePath(m.id))
	if errors.Is(err, os.ErrNotExist) {
		// Done before a crash, or the bytes are gone whatever we do.
		_, err = s.fs.Stat(s.sharePath(m.id))
	}
	if err != nil {
		return fmt.Errorf("move a share to its place: %w", err)
	}
	return s.syncShareDirs(dirs)
}

// syncShareDirs makes a new name durable, and the folders on the way to it:
// whether they are may not be known, if a process before this one made them.
// There are few of the outer ones, so those are remembered.
func (s *Store) syncShareDirs(dirs []string) error {
	if err := errors.Join(s.syncDir(dirs[2]), s.syncDir(dirs[1])); err != nil {
		return err
	}
	if s.files.isDurable(dirs[1]) {
		return nil
	}
	if err := s.syncDir(dirs[0]); err != nil {
		return err
	}
	s.files.setDurable(dirs[1])
	return nil
}

func (f *files) isDurable(dir string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.durable[dir]
	return ok
}

func (f *files) setDurable(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable[dir] = struct{}{}
}

// makeDirs makes folders, outermost first, durably.
func (s *Store) makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := s.fs.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folder %s: %w", dir, err)
		}
		if err := s.syncDir(s.fs.PathDir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a folder durable. If it fails nobody knows which
// of them are, and the system may not tell again: so it is the end.
func (s *Store) syncDir(dir string) error {
	d, err := s.fs.OpenDir(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("sync folder %s: %w", dir, err)
	if s.eng == nil {
		return err
	}
	return s.eng.fail(err)
}

func (s *Store) removeIfThere(path string) error {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete a file: %w", err)
	}
	return nil
}

// Going lists the shares whose bytes are to be deleted: after Open, those that
// a crash left over. The owner deletes each and reports it Gone to the Ledger.
func (s *Store) Going() ([]lease.GoingShare, error) {
	var all []lease.GoingShare
	err := s.scanAll([]byte{tagGoing}, func(key, value []byte) error {
		file, err := decodeNumber(value)
		if err != nil { // the share knows; Check mends it
			share, _, shareErr := s.Share(shareOf(key[1:]))
			file, err = share.File, shareErr
		}
		all = append(all, lease.GoingShare{ID: shareOf(key[1:]), File: file})
		return err
	})
	return all, err
}

// Delete deletes the files of shares that are GOING, once the Change that says
// so is durable, and returns those that are gone, durably. It does nothing to a
// share that was uploaded anew in the meantime, and can be repeated.
func (s *Store) Delete(all ...lease.GoingShare) (gone []lease.GoingShare, err error) {
	changed := folders{}
	for _, g := range all {
		if oneErr := s.deleteOne(g, changed); oneErr != nil {
			err = errors.Join(err, oneErr)
			continue
		}
		gone = append(gone, g)
	}
	if syncErr := s.syncAll(changed); syncErr != nil {
		return nil, errors.Join(err, syncErr)
	}
	return gone, err
}

// folders in which names have changed and are not durable yet. Those of many
// files are synced together: then the first sync does most of the work of all.
type folders map[string]struct{}

func (s *Store) syncAll(changed folders) error {
	for _, dir := range slices.Sorted(maps.Keys(changed)) {
		if err := s.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) deleteOne(g lease.GoingShare, changed folders) error {
	lock := s.files.stripe(g.ID)
	lock.Lock()
	defer lock.Unlock()
	share, ok, err := s.Share(g.ID)
	if err != nil {
		return err
	}
	switch {
	case ok && share.State == lease.Going && share.File == g.File:
		if g.File == 0 {
			return nil // its body goes with its record
		}
		return s.deleteFile(g, changed)
	case ok && share.File == 0 && s.files.isGoing(g.ID):
		return s.deleteReplaced(g)
	}
	return nil
}

func (s *Store) deleteFile(g lease.GoingShare, changed folders) error {
	if s.files.isPending(g.ID, g.File) {
		if err := s.removeIfThere(s.incomingPath(g.File)); err != nil {
			return err
		}
		s.files.placed(sealed{g.ID, g.File})
		err := s.eng.applyLazily(batch{{key: pendingKey(g.ID, g.File), delete: true}})
		if err != nil {
			return err
		}
	}
	return s.unlinkShare(g.ID, changed)
}

// deleteReplaced deletes the file of a share whose new body lies in the table.
func (s *Store) deleteReplaced(g lease.GoingShare) error {
	if err := s.removeShareFile(g.ID); err != nil {
		return err
	}
	s.files.claim(nil, nil, []lease.ShareID{g.ID})
	return s.eng.applyLazily(batch{{key: withShare(tagGoing, g.ID), delete: true}})
}

// removeShareFile deletes a share's file, durably.
func (s *Store) removeShareFile(id lease.ShareID) error {
	changed := folders{}
	return errors.Join(s.unlinkShare(id, changed), s.syncAll(changed))
}

// unlinkShare deletes a share's file and its folder, if that is empty now.
func (s *Store) unlinkShare(id lease.ShareID, changed folders) error {
	if err := s.removeIfThere(s.sharePath(id)); err != nil {
		return err
	}
	dirs := s.shareDirs(id)
	left, err := s.fs.List(dirs[2])
	switch {
	case err == nil && len(left) > 0:
		changed[dirs[2]] = struct{}{}
	case err == nil && s.fs.Remove(dirs[2]) == nil:
		delete(changed, dirs[2])
		changed[dirs[1]] = struct{}{}
	}
	return nil // no folder, or another share is just moving in
}

// Body reads a share's bytes. It is safe for concurrent use until Close.
type Body struct {
	io.ReaderAt
	Size  int64
	Share lease.Share
	close func() error
}

// Close ends the reading.
func (b *Body) Close() error { return b.close() }

// OpenShare opens the body of a STABLE share, wherever it lies. The error is
// lease.ErrNoShare if there is none. A reader that was opened before the share
// went still reads all of it.
func (s *Store) OpenShare(id lease.ShareID) (*Body, error) {
	share, ok, err := s.Share(id)
	for {
		if err != nil {
			return nil, err
		}
		if !ok || share.State != lease.Stable {
			return nil, lease.ErrNoShare
		}
		body, openErr := s.openBody(id, share)
		if !share.Mutable() {
			return body, openErr
		}
		before := share
		if share, ok, err = s.Share(id); err == nil && ok && share == before {
			return body, openErr
		}
		if openErr == nil { // it was written meanwhile: record and bytes may not belong together
			err = errors.Join(err, body.Close())
		}
	}
}

func (s *Store) openBody(id lease.ShareID, share lease.Share) (*Body, error) {
	if share.File == 0 {
		return s.openInline(id, share)
	}
	f, err := s.openFile(id, share.File)
	if err != nil {
		return nil, fmt.Errorf("open share %v: %w", id, err)
	}
	return &Body{ReaderAt: f, Size: share.Size, Share: share, close: f.Close}, nil
}

func (s *Store) openInline(id lease.ShareID, share lease.Share) (*Body, error) {
	b, ok, err := s.eng.get(withShare(tagBody, id))
	if err == nil && !ok {
		err = fmt.Errorf("%w: share %v has no body", ErrDamaged, id)
	}
	if err != nil {
		return nil, err
	}
	nothing := func() error { return nil }
	return &Body{ReaderAt: bytes.NewReader(b), Size: share.Size, Share: share, close: nothing}, nil
}

// openFile follows a file that is just moving: it is under its old name or,
// a moment later, under its new one.
func (s *Store) openFile(id lease.ShareID, file uint64) (vfs.File, error) {
	if s.files.isPending(id, file) {
		f, err := s.fs.Open(s.incomingPath(file))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return f, err
		}
	}
	return s.fs.Open(s.sharePath(id))
}
