package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tarn-grid/tarn/web/users"
)

// usersFile is private/users.yaml. It is looked at whenever somebody comes, and
// read when it is another one than before. As long as there are mistakes in it the
// users stay who they were.
type usersFile struct {
	folder folder
	log    *slog.Logger

	mu   sync.Mutex
	seen stamp
	list map[string]users.User
}

// stamp tells one content of a file from another.
type stamp struct {
	there bool
	inode uint64
	at    time.Time
	size  int64
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, err
	}
	s := stamp{there: true, at: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s, nil
}

// openUsers reads the file for the first time, when mistakes are errors.
func (f folder) openUsers(log *slog.Logger) (*usersFile, error) {
	u := &usersFile{folder: f, log: log}
	if err := u.read(); err != nil {
		return nil, err
	}
	return u, nil
}

// User implements users.Source.
func (u *usersFile) User(name string) (users.User, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.read(); err != nil {
		u.log.Error("the users stay who they were", "error", err)
	}
	found, ok := u.list[name]
	return found, ok
}

func (u *usersFile) read() error {
	now, err := stampOf(u.folder.users())
	if err != nil || now == u.seen && u.list != nil {
		return err
	}
	u.seen = now
	list, err := u.folder.readUsers()
	if err != nil {
		return err
	}
	u.list = make(map[string]users.User, len(list))
	for _, one := range list {
		u.list[one.Name] = one
	}
	return nil
}

// readUsers are nobody where there is no file.
func (f folder) readUsers() ([]users.User, error) {
	content, err := os.ReadFile(f.users())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeys, err)
	}
	list, err := users.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.users(), err)
	}
	return list, nil
}

func (f folder) writeUsers(list []users.User) error {
	if err := writeFile(f.users(), users.Format(list), 0o600); err != nil {
		return notWritten(f.users(), err)
	}
	return nil
}
