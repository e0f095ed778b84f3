package sftp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/tree"
)

// maxOpen is how many files and directories one session may have open.
const maxOpen = 64

// session is a tree for the request server of package sftp.
type session struct {
	ctx  context.Context
	tree *tree.Tree
	log  *slog.Logger

	mu     sync.Mutex
	open   int
	drafts map[string]*tree.Draft // that are being written, by path
}

var (
	_ sftp.FileReader           = (*session)(nil)
	_ sftp.OpenFileWriter       = (*session)(nil)
	_ sftp.PosixRenameFileCmder = (*session)(nil)
	_ sftp.FileLister           = (*session)(nil)
)

// serveTree answers requests until the channel ends.
func serveTree(ctx context.Context, t *tree.Tree, channel io.ReadWriteCloser, log *slog.Logger) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	s := &session{ctx: ctx, tree: t, log: log, drafts: map[string]*tree.Draft{}}
	return sftp.NewRequestServer(channel, sftp.Handlers{FileGet: s, FilePut: s, FileCmd: s, FileList: s}).Serve()
}

// status is an error with the code that SFTP has for it.
type status struct {
	error
	code error
}

// Unwrap gives the code.
func (s status) Unwrap() error { return s.code }

// failed finds the code of an error.
func (s *session) failed(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // the client knows the path
	}
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return status{err, sftp.ErrSSHFxNoSuchFile}
	case errors.Is(err, fs.ErrPermission):
		return status{err, sftp.ErrSSHFxPermissionDenied}
	}
	if s.ctx.Err() == nil {
		s.log.Debug("SFTP request failed", "error", err)
	}
	return status{err, sftp.ErrSSHFxFailure}
}

// errTooMany is for who opens one file after the other.
var errTooMany = errors.New("too many files are open")

// take counts an open file.
func (s *session) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxOpen {
		return errTooMany
	}
	s.open++
	return nil
}

func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// Fileread implements sftp.FileReader.
func (s *session) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if err := s.take(); err != nil {
		return nil, s.failed(err)
	}
	f, err := s.tree.Open(s.ctx, r.Filepath)
	if err != nil {
		s.release()
		return nil, s.failed(err)
	}
	return &reading{s, f}, nil
}

// reading is a file that is read.
type reading struct {
	session *session
	file    *tree.File
}

// ReadAt implements io.ReaderAt.
func (r *reading) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.file.ReadAt(p, offset)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, r.session.failed(err)
}

// Close implements io.Closer.
func (r *reading) Close() error {
	r.session.release()
	return r.session.failed(r.file.Close())
}

// Filewrite implements sftp.FileWriter.
func (s *session) Filewrite(r *sftp.Request) (io.WriterAt, error) { return s.OpenFile(r) }

// OpenFile implements sftp.OpenFileWriter.
func (s *session) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) {
	w, err := s.openFile(r.Filepath, r.Pflags())
	if err != nil {
		return nil, s.failed(err)
	}
	return w, nil
}

func (s *session) openFile(name string, flags sftp.FileOpenFlags) (*writing, error) {
	if !flags.Creat {
		if _, err := s.tree.Stat(s.ctx, name); err != nil {
			return nil, err
		}
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	d, err := s.tree.Edit(s.ctx, name, flags.Creat && flags.Excl, flags.Trunc)
	if err != nil {
		s.release()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drafts[path.Clean(name)] = d
	return &writing{session: s, name: path.Clean(name), Draft: d}, nil
}

// writing is a file that is written.
type writing struct {
	session *session
	name    string
	*tree.Draft
}

// WriteAt implements io.WriterAt.
func (w *writing) WriteAt(p []byte, offset int64) (int, error) {
	n, err := w.Draft.WriteAt(p, offset)
	return n, w.session.failed(err)
}

// ReadAt implements io.ReaderAt.
func (w *writing) ReadAt(p []byte, offset int64) (int, error) {
	n, err := w.Draft.ReadAt(p, offset)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, w.session.failed(err)
}

// TransferError implements sftp.TransferError: the connection was lost.
func (w *writing) TransferError(error) { w.Discard() }

// Close implements io.Closer: it stores the file.
func (w *writing) Close() error {
	err := w.Draft.Close()
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	w.session.open--
	if w.session.drafts[w.name] == w.Draft {
		delete(w.session.drafts, w.name)
	}
	return w.session.failed(err)
}

// draft is the file that is being written at a path, nil if none is.
func (s *session) draft(name string) *tree.Draft {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drafts[path.Clean(name)]
}

// Filecmd implements sftp.FileCmder.
func (s *session) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Setstat":
		return s.failed(s.setstat(r))
	case "Rename":
		return s.failed(s.tree.Rename(s.ctx, r.Filepath, r.Target, tarn.ReplaceNone))
	case "Mkdir":
		return s.failed(s.tree.MakeDirectory(s.ctx, r.Filepath))
	case "Rmdir":
		return s.failed(s.tree.Remove(s.ctx, r.Filepath, true))
	case "Remove":
		return s.failed(s.tree.Remove(s.ctx, r.Filepath, false))
	}
	return sftp.ErrSSHFxOpUnsupported // links
}

// PosixRename implements sftp.PosixRenameFileCmder.
func (s *session) PosixRename(r *sftp.Request) error {
	return s.failed(s.tree.Rename(s.ctx, r.Filepath, r.Target, tarn.ReplaceFiles))
}

// setstat sets length and time; owners and permissions are what they are.
func (s *session) setstat(r *sftp.Request) error {
	flags, want := r.AttrFlags(), r.Attributes()
	d := s.draft(r.Filepath)
	if flags.Size {
		if err := s.truncate(d, r.Filepath, int64(want.Size)); err != nil { // what is too large is negative, and refused
			return err
		}
	}
	at := time.Unix(int64(want.Mtime), 0)
	switch {
	case d != nil && flags.Acmodtime:
		d.SetModified(at)
		return nil
	case d != nil:
		return nil
	case flags.Acmodtime:
		return s.tree.SetModified(s.ctx, r.Filepath, at)
	}
	_, err := s.tree.Stat(s.ctx, r.Filepath)
	return err
}

// truncate makes a file that long, be it open or not.
func (s *session) truncate(d *tree.Draft, name string, size int64) error {
	if d != nil {
		return d.Truncate(size)
	}
	d, err := s.tree.Edit(s.ctx, name, false, false)
	if err != nil {
		return err
	}
	if err := d.Truncate(size); err != nil {
		d.Discard()
		return errors.Join(err, discarded(d.Close()))
	}
	return d.Close()
}

// discarded leaves out what is known.
func discarded(err error) error {
	if errors.Is(err, tree.ErrBrokenOff) {
		return nil
	}
	return err
}

// Filelist implements sftp.FileLister.
func (s *session) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		if err := s.take(); err != nil {
			return nil, s.failed(err)
		}
		list, err := s.tree.List(s.ctx, r.Filepath)
		if err != nil {
			s.release()
			return nil, s.failed(err)
		}
		return opened{list, s}, nil
	case "Stat":
		if d := s.draft(r.Filepath); d != nil {
			return lister{d.Info()}, nil
		}
		i, err := s.tree.Stat(s.ctx, r.Filepath)
		if err != nil {
			return nil, s.failed(err)
		}
		return lister{i}, nil
	}
	return nil, sftp.ErrSSHFxOpUnsupported // links
}

// opened is a directory that is read.
type opened struct {
	lister
	session *session
}

// Close implements io.Closer.
func (o opened) Close() error {
	o.session.release()
	return nil
}

// lister is a list of files.
type lister []tree.Info

// ListAt implements sftp.ListerAt.
func (l lister) ListAt(into []os.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := 0
	for n < len(into) && int(offset)+n < len(l) {
		into[n] = l[int(offset)+n]
		n++
	}
	if int(offset)+n == len(l) {
		return n, io.EOF
	}
	return n, nil
}
