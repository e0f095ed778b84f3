package tree

import (
	"errors"
	"io/fs"

	"github.com/tarn-grid/tarn"
)

// Errors that callers act on; all arrive in a *fs.PathError.
var (
	// ErrNotEmpty means that a directory has something in it.
	ErrNotEmpty = errors.New("the directory is not empty")
	// ErrDirectory means that a directory is where a file is wanted,
	// ErrNotDirectory the opposite.
	ErrDirectory    = errors.New("it is a directory")
	ErrNotDirectory = errors.New("it is not a directory")
	// ErrRoot means that the top of a tree was to be moved or removed.
	ErrRoot = errors.New("it is the top, which can't be moved or removed")
	// ErrInsideItself means that a directory was to be moved below itself.
	ErrInsideItself = errors.New("a directory can't be moved into itself")
	// ErrName means that a name can't be that of a file.
	ErrName = errors.New("it can't be the name of a file: at most 1024 bytes of UTF-8, in 100 directories")
	// ErrUnknown means that what is there is of a kind that this version can't use.
	ErrUnknown = errors.New("it is of a kind that this version does not know")
	// ErrTooLarge means that a file was to be longer than files can be.
	ErrTooLarge = errors.New("the file would be too long")
	// ErrBrokenOff means that a file was not sent to its end, so it was not stored.
	ErrBrokenOff = errors.New("it was not sent to its end")
)

// refused is fs.ErrPermission with its reason.
type refused struct{ error }

func (refused) Is(target error) bool { return target == fs.ErrPermission }

// Unwrap gives what the node said.
func (r refused) Unwrap() error { return r.error }

// failed says what was to be done where. Errors of the node become those of
// package fs where there is one.
func failed(what, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tarn.ErrNoEntry), errors.Is(err, fs.ErrNotExist):
		err = fs.ErrNotExist
	case errors.Is(err, tarn.ErrEntryExists), errors.Is(err, fs.ErrExist):
		err = fs.ErrExist
	case errors.Is(err, tarn.ErrReadOnly), errors.Is(err, tarn.ErrProhibited):
		err = refused{err}
	}
	return &fs.PathError{Op: what, Path: path, Err: err}
}
