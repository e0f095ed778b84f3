package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is the longest path, in bytes, that every system takes for a
// Unix socket: 104 with the final zero on the BSDs, 108 on Linux.
const maxSocketPath = 103

// ErrSocketPath means that the folder's name is too long for a socket here.
var ErrSocketPath = errors.New("the folder's name is too long for a control socket")

// Listen opens the control socket, mode 0600. A socket that is there already
// is replaced: only who holds the lock of the node's folder may call this.
// Close the listener to remove the socket.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old control socket: %w", err)
	}
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // its name may lead nowhere by then
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close() // the error that matters is the other
		return nil, fmt.Errorf("protect the control socket: %w", err)
	}
	return &listener{l, path}, nil
}

type listener struct {
	*net.UnixListener
	path string
}

// Close stops listening and removes the socket.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if rm := os.Remove(l.path); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// dial connects to the socket; ErrNotRunning when nobody is there.
func dial(ctx context.Context, path string) (net.Conn, error) {
	short, release, err := shortPath(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", short)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("reach the node over its control socket: %w", err)
	}
	return conn, nil
}

// shortPath is another name of path that fits into a socket address. It holds
// until release is called.
func shortPath(path string) (short string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, name := filepath.Split(path)
	if relative, ok := relativePath(path); ok {
		return relative, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("find the control socket: %w", err)
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)
	if _, err := os.Stat(filepath.Dir(short)); err != nil || len(short) > maxSocketPath {
		_ = d.Close() // it was only read
		return "", nil, fmt.Errorf("%w: %d bytes (want at most %d)", ErrSocketPath, len(path), maxSocketPath)
	}
	return short, func() { _ = d.Close() }, nil
}

func relativePath(path string) (string, bool) {
	cwd, err := os.Getwd()
	if err != nil {
		return "", false
	}
	relative, err := filepath.Rel(cwd, path)
	return relative, err == nil && len(relative) <= maxSocketPath
}
