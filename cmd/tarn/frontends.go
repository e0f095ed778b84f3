package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/dav"
	"github.com/tarn-grid/tarn/web/sftp"
	"github.com/tarn-grid/tarn/web/tree"
)

type sftpSettings struct {
	Listen string `yaml:"listen"`
}

// frontends are where WebDAV and SFTP listen, host:port; empty for no such thing.
type frontends struct {
	webdav string
	hosts  []string
	sftp   string
}

// frontends reads the sections webdav and sftp.
func (s settings) frontends(f folder) (frontends, error) {
	var out frontends
	var err error
	if s.WebDAV != nil {
		out.hosts = s.WebDAV.Hosts
		if out.webdav, err = webAddress(s.WebDAV.Listen); err != nil {
			return out, f.wrong("webdav.listen", err)
		}
	}
	if s.SFTP != nil {
		if out.sftp, err = webAddress(s.SFTP.Listen); err != nil {
			return out, f.wrong("sftp.listen", err)
		}
	}
	if s.Client == nil && (out.webdav != "" || out.sftp != "") {
		return out, f.wrong("webdav, sftp", errors.New("they need the client section"))
	}
	return out, nil
}

// revealing says which of them others can reach.
func (o frontends) revealing() (reasons []string) {
	for _, one := range []struct{ setting, address string }{{"webdav.listen", o.webdav}, {"sftp.listen", o.sftp}} {
		if host, _, err := net.SplitHostPort(one.address); err == nil && !isLocal(host) {
			reasons = append(reasons, fmt.Sprintf("%s: %s can be reached from other machines", one.setting, one.address))
		}
	}
	return reasons
}

// openFrontends serves users' directories, if there is to be such a thing.
func (d *doors) openFrontends(n node, running *tarn.Node) error {
	if n.frontends.webdav == "" && n.frontends.sftp == "" {
		return errors.Join(d.record(d.folder.davURL(), ""), d.record(d.folder.sftpURL(), ""))
	}
	known, err := d.folder.openUsers(n.config.Log)
	if err != nil {
		return err
	}
	trees := tree.New(running, filepath.Join(d.folder.dir, "tmp"))
	return errors.Join(d.openDAV(n, trees, known), d.openSFTP(n, trees, known))
}

func (d *doors) openDAV(n node, trees *tree.Trees, known *usersFile) error {
	if n.frontends.webdav == "" {
		return d.record(d.folder.davURL(), "")
	}
	l, err := d.listen(n.frontends.webdav, "webdav.listen", "WebDAV")
	if err != nil {
		return err
	}
	handler, err := dav.Handler(trees, known, dav.Options{Hosts: n.frontends.hosts, Log: n.config.Log})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if host, _, err := net.SplitHostPort(n.frontends.webdav); err == nil && !isLocal(host) {
		n.config.Log.Warn("WebDAV can be reached from other machines, and passwords are readable on the way; let a server with TLS stand before it", "address", n.frontends.webdav)
	}
	d.serve(web.Server(handler, n.config.Log), web.Bounded(l, web.MaxConnections))
	return d.record(d.folder.davURL(), "http://"+l.Addr().String()+"/")
}

func (d *doors) openSFTP(n node, trees *tree.Trees, known *usersFile) error {
	if n.frontends.sftp == "" {
		return d.record(d.folder.sftpURL(), "")
	}
	key, err := d.folder.ownKey(sftpKeyFile)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return fmt.Errorf("make the key of the SFTP server: %w", err)
	}
	l, err := d.listen(n.frontends.sftp, "sftp.listen", "SFTP")
	if err != nil {
		return err
	}
	d.sftp = sftp.NewServer(trees, known, signer, n.config.Log)
	go func() { _ = d.sftp.Serve(l) }() // it ends when it is closed
	return d.record(d.folder.sftpURL(), "sftp://"+l.Addr().String()+"/")
}

// listen says which setting to change where that can't be.
func (d *doors) listen(address, setting, what string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the address of %s, %s: %w (%s in %s)", what, address, tarn.ErrPortInUse, setting, d.folder.settings())
	}
	if err != nil {
		return nil, d.folder.wrong(setting, err)
	}
	return l, nil
}

// endSFTP cuts all connections; what was not sent to its end is not stored.
func (d *doors) endSFTP(ctx context.Context) {
	if d.sftp == nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		_ = d.sftp.Close() // never fails
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
