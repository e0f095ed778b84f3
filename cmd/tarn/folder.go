package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// folder is a node's folder:
//
//	tarn.yaml                 settings
//	node.url                  where the gateway is, while the node runs
//	webdav.url, sftp.url      where WebDAV and SFTP are, while the node runs
//	private/users.yaml        who may come by those, and to which directory
//	private/sftp.privkey      the key by which SFTP clients recognise the node
//	private/control.privkey   the node's key towards whoever controls it
//	private/node.privkey      the storage server's key
//	private/node-id, permutation-seed
//	                          what the server has from one of Tahoe-LAFS whose
//	                          shares it took over
//	private/onion.privkey     the key of its onion service; introducer-onion.privkey
//	                          and so on are those of other roles
//	private/tor.password      what Tor's control port wants to be told
//	private/introducer.privkey, introducer.ref
//	private/manager.privkey   the account manager's key
//	private/helper.privkey, helper.ref
//	private/aggregator.authority  what a usage aggregator asks under
//	private/members.json      whose keys are whose, for a usage aggregator
//	private/account           the seed of the client's account keys
//	private/renewer.privkey, repairer.privkey
//	                          the client's keys for what it does for others, and
//	                          the key of a renewer or a repairer
//	private/convergence       the client's convergence secret
//	private/aliases           names of directories
//	private/control.sock      the running node
type folder struct{ dir string }

func (f folder) settings() string           { return filepath.Join(f.dir, "tarn.yaml") }
func (f folder) url() string                { return filepath.Join(f.dir, "node.url") }
func (f folder) private(name string) string { return filepath.Join(f.dir, "private", name) }
func (f folder) socket() string             { return f.private("control.sock") }
func (f folder) aliasFile() string          { return f.private("aliases") }
func (f folder) davURL() string             { return filepath.Join(f.dir, "webdav.url") }
func (f folder) sftpURL() string            { return filepath.Join(f.dir, "sftp.url") }
func (f folder) users() string              { return f.private("users.yaml") }
func (f folder) reference() string          { return f.private("introducer.ref") }

func (f folder) helperReference() string { return f.private("helper.ref") }
func (f folder) relayReference() string  { return f.private("relay.ref") }

// check says whether there is a node.
func (f folder) check() error {
	_, err := os.Stat(f.settings())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has no tarn.yaml. Make one with create-client, create-node or create-introducer, or name another folder with -d", errNoNode, f.dir)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %s is not a folder", errNoNode, f.dir)
	}
	if err != nil {
		return fmt.Errorf("look for a node: %w", err)
	}
	return nil
}

// create makes the folder, which must not exist or be empty, with these files
// in it, the settings last. If that fails, nothing is left behind.
func (f folder) create(settings []byte, private map[string]string) (err error) {
	made, err := f.prepare()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.undo(made)
			err = notWritten(f.dir, err)
		}
	}()
	if err := os.Mkdir(f.private(""), 0o700); err != nil {
		return err
	}
	for name, content := range private {
		if err := writeFile(f.private(name), []byte(content+"\n"), 0o600); err != nil {
			return err
		}
	}
	return writeFile(f.settings(), settings, 0o600)
}

// prepare reports whether it made the folder.
func (f folder) prepare() (made bool, err error) {
	entries, err := os.ReadDir(f.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(f.dir, 0o700); err != nil {
			return false, notWritten(f.dir, err)
		}
		return true, nil
	case err != nil:
		return false, notWritten(f.dir, err)
	case hasFile(f.settings()):
		return false, fmt.Errorf("%w: there is a node in %s already; start it with tarn -d %s run, or make the new one in another folder", errNotEmpty, f.dir, f.dir)
	case len(entries) > 0:
		return false, fmt.Errorf("%w: %s has %s in it; a new node wants a folder of its own", errNotEmpty, f.dir, entries[0].Name())
	}
	return false, nil
}

// notWritten says why name can't be written, without the names of temporary
// files.
func notWritten(name string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("%s %w: %w", name, errWrite, err)
}

// undo is best effort: the error that led here is the one to tell.
func (f folder) undo(made bool) {
	_ = os.RemoveAll(f.private(""))
	_ = os.Remove(f.settings())
	if made {
		_ = os.Remove(f.dir)
	}
}

// writeFile writes a file that after a crash is there whole or not at all.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	t, err := newTemporary(path, mode)
	if err != nil {
		return err
	}
	defer t.discard()
	if _, err := t.Write(content); err != nil {
		return err
	}
	return t.keep()
}

// temporary is a file beside path that takes its place once it is whole.
type temporary struct {
	*os.File
	path string
	kept bool
}

func newTemporary(path string, mode fs.FileMode) (*temporary, error) {
	name := filepath.Base(path)
	name = name[:min(len(name), 100)] // the longest names are 255 bytes long
	f, err := os.CreateTemp(filepath.Dir(path), "."+name+".tarn-")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		_ = f.Close() // nothing was written
		_ = os.Remove(f.Name())
		return nil, err
	}
	return &temporary{File: f, path: path}, nil
}

// keep makes the content durable and gives it its name.
func (t *temporary) keep() error {
	if err := t.Sync(); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), t.path); err != nil {
		return err
	}
	t.kept = true
	return syncFolder(filepath.Dir(t.path))
}

// discard removes the file unless it was kept.
func (t *temporary) discard() {
	if !t.kept {
		_ = t.Close() // may be closed already
		_ = os.Remove(t.Name())
	}
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
