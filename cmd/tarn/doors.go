package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/control"
)

// doors are the ways into a running node: the control socket and, if there is
// to be one, the gateway.
type doors struct {
	servers []*http.Server
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
	if n.web == "" {
		return d, d.forgetURL()
	}
	if err := d.openGateway(n, running); err != nil {
		d.close(context.Background())
		return nil, err
	}
	return d, nil
}

func (d *doors) openGateway(n node, running *tarn.Node) error {
	l, err := net.Listen("tcp", n.web)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the gateway's address %s: %w (web.listen in %s)", n.web, tarn.ErrPortInUse, d.folder.settings())
	}
	if err != nil {
		return d.folder.wrong("web.listen", err)
	}
	d.url = "http://" + l.Addr().String() + "/"
	gateway := web.Gateway(running, web.Options{Hosts: n.hosts, Log: n.config.Log})
	d.serve(web.Server(gateway, n.config.Log), l)
	if err := writeFile(d.folder.url(), []byte(d.url+"\n"), 0o600); err != nil {
		return notWritten(d.folder.url(), err)
	}
	return nil
}

func (d *doors) serve(s *http.Server, l net.Listener) {
	d.servers = append(d.servers, s)
	// Serve returns when the server is shut down, and for no other reason that
	// would not also show in requests.
	go func() { _ = s.Serve(l) }()
}

func (d *doors) forgetURL() error {
	if err := os.Remove(d.folder.url()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return notWritten(d.folder.url(), err)
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
	_ = d.forgetURL() // a stale address does no harm
}
