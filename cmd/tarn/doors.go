package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/sftp"
)

// doors are the ways into a running node: the control socket and, where there are
// to be such, the gateway, WebDAV and SFTP.
type doors struct {
	servers []*http.Server
	sftp    *sftp.Server // nil if there is none
	// url of the gateway, empty if there is none.
	url    string
	folder folder
}

// openDoors must only be called while the folder's lock is held.
func openDoors(f folder, n node, running *tarn.Node) (*doors, error) {
	d := &doors{folder: f}
	socket, err := control.Listen(f.socket())
	if err != nil {
		return nil, err
	}
	d.serve(web.Server(control.Handler(running), n.config.Log), socket)
	err = d.openGateway(n, running)
	if err == nil {
		err = d.openFrontends(n, running)
	}
	if err != nil {
		d.close(context.Background())
		return nil, err
	}
	return d, nil
}

func (d *doors) openGateway(n node, running *tarn.Node) error {
	if n.web == "" {
		return d.record(d.folder.url(), "")
	}
	l, err := d.listen(n.web, "web.listen", "the gateway")
	if err != nil {
		return err
	}
	d.url = "http://" + l.Addr().String() + "/"
	gateway := web.Gateway(running, web.Options{Hosts: n.hosts, Log: n.config.Log})
	d.serve(web.Server(gateway, n.config.Log), web.Bounded(l, web.MaxConnections))
	return d.record(d.folder.url(), d.url)
}

func (d *doors) serve(s *http.Server, l net.Listener) {
	d.servers = append(d.servers, s)
	// Serve returns when the server is shut down, and for no other reason that
	// would not also show in requests.
	go func() { _ = s.Serve(l) }()
}

// record writes down where something listens; nothing is left where it does not.
func (d *doors) record(path, url string) error {
	var err error
	if url == "" {
		err = os.Remove(path)
	} else {
		err = writeFile(path, []byte(url+"\n"), 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return notWritten(path, err)
	}
	return nil
}

// close lets requests end for a moment and then cuts them.
func (d *doors) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endRequests)
	defer cancel()
	for _, s := range d.servers {
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // the listeners are closed already
		}
	}
	d.endSFTP(ctx)
	for _, path := range []string{d.folder.url(), d.folder.davURL(), d.folder.sftpURL()} {
		_ = d.record(path, "") // a stale address does no harm
	}
}
