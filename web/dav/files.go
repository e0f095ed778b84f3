package dav

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/net/webdav"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/tree"
)

// files are a tree for webdav.
type files struct{ *tree.Tree }

var _ webdav.FileSystem = files{}

// Mkdir implements webdav.FileSystem.
func (f files) Mkdir(ctx context.Context, name string, _ os.FileMode) error {
	return requestOf(ctx).failed(f.MakeDirectory(ctx, name))
}

// Stat implements webdav.FileSystem.
func (f files) Stat(ctx context.Context, name string) (os.FileInfo, error) {
	i, err := f.Tree.Stat(ctx, name)
	if err != nil {
		return nil, requestOf(ctx).failed(err)
	}
	return info{i}, nil
}

// RemoveAll implements webdav.FileSystem. Where webdav removes what a move or a copy
// of a file is to replace, nothing is removed before there is something else in its
// place.
func (f files) RemoveAll(ctx context.Context, name string) error {
	q := requestOf(ctx)
	if q.method == "MOVE" || q.method == "COPY" {
		i, err := f.Tree.Stat(ctx, name)
		if err != nil {
			return q.failed(err)
		}
		if q.method == "MOVE" || !i.IsDir() {
			if q.replace == nil {
				q.replace = map[string]bool{}
			}
			q.replace[path.Clean(name)] = true
			return nil
		}
	}
	return q.failed(f.Tree.RemoveAll(ctx, name))
}

// Rename implements webdav.FileSystem.
func (f files) Rename(ctx context.Context, from, to string) error {
	q := requestOf(ctx)
	replace := tarn.ReplaceNone
	if q.replace[path.Clean(to)] {
		replace = tarn.ReplaceAny
	}
	return q.failed(f.Tree.Rename(ctx, from, to, replace))
}

// OpenFile implements webdav.FileSystem. What is only looked at is not opened.
func (f files) OpenFile(ctx context.Context, name string, flag int, _ os.FileMode) (webdav.File, error) {
	q := requestOf(ctx)
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 {
		u, err := f.Create(ctx, name, q.mustBeNew)
		if err != nil {
			return nil, q.failed(err)
		}
		u.SetModified(q.at)
		return &written{u: u, q: q}, nil
	}
	i, err := f.Tree.Stat(ctx, name)
	if err != nil {
		return nil, q.failed(err)
	}
	return &reading{ctx: ctx, files: f, q: q, name: name, info: i}, nil
}

// info adds what PROPFIND shows of files.
type info struct{ tree.Info }

var (
	_ webdav.ETager       = info{}
	_ webdav.ContentTyper = info{}
)

// ETag implements webdav.ETager.
func (i info) ETag(context.Context) (string, error) {
	if i.Tag() == "" {
		return "", webdav.ErrNotImplemented
	}
	return quoted(i.Tag()), nil
}

// ContentType implements webdav.ContentTyper.
func (i info) ContentType(context.Context) (string, error) { return contentType(i.Name()), nil }

// reading is a file or directory that is looked at, and opened when it is read.
type reading struct {
	ctx   context.Context
	files files
	q     *request
	name  string
	info  tree.Info
	file  *tree.File
	list  []tree.Info
	rest  bool // list is what is left of it
}

func (r *reading) open() (*tree.File, error) {
	if r.file == nil {
		f, err := r.files.Open(r.ctx, r.name)
		if err != nil {
			return nil, r.q.failed(err)
		}
		r.file = f
	}
	return r.file, nil
}

// Read implements webdav.File.
func (r *reading) Read(p []byte) (int, error) {
	f, err := r.open()
	if err != nil {
		return 0, err
	}
	n, err := f.Read(p)
	return n, r.q.failed(err)
}

// Seek implements webdav.File.
func (r *reading) Seek(offset int64, whence int) (int64, error) {
	f, err := r.open()
	if err != nil {
		return 0, err
	}
	return f.Seek(offset, whence)
}

// Readdir implements webdav.File.
func (r *reading) Readdir(count int) ([]fs.FileInfo, error) {
	if !r.rest {
		list, err := r.files.List(r.ctx, r.name)
		if err != nil {
			return nil, r.q.failed(err)
		}
		r.list, r.rest = list, true
	}
	n := len(r.list)
	if count > 0 {
		if n == 0 {
			return nil, io.EOF
		}
		n = min(n, count)
	}
	out := make([]fs.FileInfo, n)
	for i := range out {
		out[i] = info{r.list[i]}
	}
	r.list = r.list[n:]
	return out, nil
}

// Stat implements webdav.File.
func (r *reading) Stat() (fs.FileInfo, error) { return info{r.info}, nil }

// Write implements webdav.File.
func (r *reading) Write([]byte) (int, error) { return 0, fs.ErrPermission }

// Close implements webdav.File.
func (r *reading) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// written is a file that is put or copied. It is in its place when it is closed, if
// all of it came.
type written struct {
	u *tree.Upload
	q *request
}

// ReadFrom stores the file. webdav closes it even if this fails, so that has to be
// known.
func (w *written) ReadFrom(r io.Reader) (int64, error) {
	if from, ok := r.(*reading); ok { // of a copy
		f, err := from.open()
		if err != nil {
			w.u.Discard()
			return 0, err
		}
		n, err := w.u.Store(f, from.info.Size())
		return n, w.q.failed(err)
	}
	n, err := w.u.Store(r, w.q.size)
	return n, w.q.failed(err)
}

// Write is never called, because of ReadFrom.
func (w *written) Write([]byte) (int, error) {
	w.u.Discard()
	return 0, fs.ErrInvalid
}

// Stat implements webdav.File.
func (w *written) Stat() (fs.FileInfo, error) {
	i, err := w.u.Info()
	return info{i}, w.q.failed(err)
}

// Close implements webdav.File.
func (w *written) Close() error { return w.q.failed(w.u.Close()) }

// Read implements webdav.File.
func (w *written) Read([]byte) (int, error) { return 0, fs.ErrPermission }

// Seek implements webdav.File.
func (w *written) Seek(int64, int) (int64, error) { return 0, fs.ErrPermission }

// Readdir implements webdav.File.
func (w *written) Readdir(int) ([]fs.FileInfo, error) { return nil, fs.ErrInvalid }
