// Package sftp serves trees of files by SFTP (version 3, over SSH), to sftp, scp,
// sshfs and whatever else knows it.
//
// Server serves it over the trees of a node. What it promises:
//
//   - users come in by the public keys that they are known for, and by nothing else;
//     each sees his own directory and nothing beside it;
//   - there is no shell, no command, and nothing is forwarded;
//   - a file whose connection was lost on the way changes nothing;
//   - connections, and what they have open, are bounded.
package sftp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tarn-grid/tarn/web/tree"
	"github.com/tarn-grid/tarn/web/users"
)

// Bounds of connections.
const (
	maxConnections = 128
	maxStrangers   = 32 // that have not shown a key yet
	maxTries       = 20 // keys that one may show
	maxSessions    = 10 // of one connection
	loginTime      = 20 * time.Second
)

// Server serves the directories of users. Its zero value can't be used.
type Server struct {
	trees  *tree.Trees
	config *ssh.ServerConfig
	log    *slog.Logger

	ctx context.Context
	end context.CancelFunc

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[net.Conn]bool // those that are logged in are true
	closed    bool
	running   sync.WaitGroup
}

// root is where the capability of a user's directory is in ssh.Permissions.
const root = "root"

// NewServer makes a server with a key that clients recognise it by. log receives
// failures; nil discards.
func NewServer(trees *tree.Trees, source users.Source, key ssh.Signer, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{trees: trees, log: log, conns: map[net.Conn]bool{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.config = &ssh.ServerConfig{
		MaxAuthTries:  maxTries,
		ServerVersion: "SSH-2.0-Tarn",
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			u, ok := source.User(c.User())
			if !ok || !u.HasKey(key) {
				return nil, errStranger
			}
			return &ssh.Permissions{Extensions: map[string]string{root: u.Root}}, nil
		},
	}
	s.config.AddHostKey(key)
	return s
}

var errStranger = errors.New("no user has that key")

// Serve accepts connections until the server is closed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return errors.Join(net.ErrClosed, l.Close())
	}
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // too many files are open, or the like
			s.log.Warn("SFTP can't accept a connection", "error", err)
			if !s.pause() {
				return net.ErrClosed
			}
		case !s.admit(c):
			_ = c.Close() // it may come again
		default:
			go func() {
				defer s.running.Done()
				defer s.forget(c)
				s.serve(c)
			}()
		}
	}
}

// pause rests after a failure; false if the server was closed.
func (s *Server) pause() bool {
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// admit counts a connection, if there is room for it.
func (s *Server) admit(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	strangers := 0
	for _, known := range s.conns {
		if !known {
			strangers++
		}
	}
	if s.closed || len(s.conns) >= maxConnections || strangers >= maxStrangers {
		return false
	}
	s.conns[c] = false
	s.running.Add(1)
	return true
}

func (s *Server) forget(c net.Conn) {
	_ = c.Close() // it may be closed already
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close ends all connections, and what they were doing, and waits for that.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.listeners {
		_ = l.Close() // nothing is lost
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.end()
	s.running.Wait()
	return nil
}

func (s *Server) serve(c net.Conn) {
	if c.SetDeadline(time.Now().Add(loginTime)) != nil {
		return
	}
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		s.log.Debug("SFTP login failed", "error", err)
		return
	}
	defer func() { _ = conn.Close() }() // the client may be gone
	if c.SetDeadline(time.Time{}) != nil {
		return
	}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	t, err := s.trees.At(conn.Permissions.Extensions[root])
	if err != nil {
		s.log.Error("a user has no directory", "user", conn.User(), "error", err)
		return
	}
	go ssh.DiscardRequests(requests) // forwarding, above all
	ctx, end := context.WithCancel(s.ctx)
	var sessions sync.WaitGroup
	turns := make(chan struct{}, maxSessions)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.Prohibited, "there is nothing but SFTP here")
			continue
		}
		select {
		case turns <- struct{}{}:
		default:
			_ = offered.Reject(ssh.ResourceShortage, "too many sessions on one connection")
			continue
		}
		channel, asked, err := offered.Accept()
		if err != nil {
			break
		}
		sessions.Go(func() {
			defer func() { <-turns }()
			s.session(ctx, conn.User(), t, channel, asked)
		})
	}
	end()
	sessions.Wait()
}

// noShell is told to who wants one, or an scp of before 2022.
const noShell = "This is an SFTP server without a shell or commands: use sftp, or scp without -O.\r\n"

// session serves one channel, as soon as SFTP is asked for.
func (s *Server) session(ctx context.Context, user string, t *tree.Tree, channel ssh.Channel, asked <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }() // the client may be gone
	for r := range asked {
		switch r.Type {
		case "subsystem":
			var what struct{ Name string }
			if ssh.Unmarshal(r.Payload, &what) != nil || what.Name != "sftp" {
				reply(r, false)
				continue
			}
			reply(r, true)
			go ssh.DiscardRequests(asked)
			status := exitStatus(serveTree(ctx, t, channel, s.log.With("user", user)))
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status)) // the client may be gone
			return
		case "shell", "exec":
			reply(r, true)
			go ssh.DiscardRequests(asked)
			_, _ = io.WriteString(channel.Stderr(), noShell)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(exit{1}))
			return
		default:
			reply(r, false)
		}
	}
}

func reply(r *ssh.Request, ok bool) {
	if r.WantReply {
		_ = r.Reply(ok, nil) // the client may be gone
	}
}

// exit is the exit status of RFC 4254 section 6.10.
type exit struct{ Status uint32 }

func exitStatus(err error) exit {
	if err == nil || errors.Is(err, io.EOF) {
		return exit{0}
	}
	return exit{1}
}
