package scale

import (
	"bufio"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
)

// farmVariable makes this program a farm of that many servers.
const farmVariable = "TARN_FARM"

func TestMain(m *testing.M) {
	var err error
	if n, bad := strconv.Atoi(os.Getenv(farmVariable)); bad == nil {
		err = farm(n)
	} else if part := os.Getenv(meshVariable); part != "" {
		err = beMesh(part)
	} else {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var loopback = []string{"/ip4/127.0.0.1/tcp/0"}

// keyOf is the key of server n.
func keyOf(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), uint64(n)))
}

// farm is servers of a few lines until standard input ends. It prints the clause of
// each.
func farm(n int) error {
	for i := range n {
		l, err := serve(keyOf(i), loopback)
		if err != nil {
			return err
		}
		fmt.Fprint(os.Stdout, clauseOf(keyOf(i), l.Hints()))
	}
	fmt.Fprintln(os.Stdout)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// clauseOf is how a server stands in servers.yaml.
func clauseOf(key ed25519.PrivateKey, hints []grid.Hint) string {
	id := grid.ServerID(grid.PublicKeyOf(key))
	return fmt.Sprintf("%s: {announcement: {nickname: %s, addresses: [%s]}}\n", id, id.Short(), hints[0])
}

// serve is a server that accepts every login, and holds and stores nothing.
func serve(key ed25519.PrivateKey, addresses []string) (transport.Listener, error) {
	return p2p.Listen(key, addresses, p2p.Options{}, func(s transport.Session) transport.SessionEvents {
		s.Admit()
		return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
			return func(ev transport.Event) {
				if r, ok := ev.(transport.Received); ok {
					r.Frame.Release()
					c.Grant(1)
					c.Send(wire.Frame{ID: r.Frame.ID, Answer: true, Message: answer(r.Frame.Message)})
				}
			}, 64
		}}
	})
}

func answer(m wire.Message) wire.Message {
	switch m.(type) {
	case *wire.Hello:
		return &wire.Hello{Version: wire.Version, MaxBody: wire.MaxRead, MaxRequests: 64}
	case *wire.Login, *wire.Resume:
		return &wire.LoggedIn{Reference: []byte("a reference"), Expires: time.Now().Add(24 * time.Hour).Unix()}
	case *wire.Find:
		return &wire.Found{}
	}
	return wire.NewError(wire.ServerFull, "no room")
}

// startFarm runs one in a process of its own, whose memory is not ours, and returns
// the clauses of its servers.
func startFarm(t testing.TB, n int) string {
	t.Helper()
	lines := startSelf(t, farmVariable+"="+strconv.Itoa(n))
	var clauses strings.Builder
	for lines.Scan() && lines.Text() != "" {
		fmt.Fprintln(&clauses, lines.Text())
	}
	return clauses.String()
}

// startSelf runs this program with one more variable, until the test ends, and
// returns what it prints.
func startSelf(t testing.TB, variable string) *bufio.Scanner {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return bufio.NewScanner(out)
}

// folder is that of a node whose owner says this of servers.
func folder(t testing.TB, clauses string) string {
	t.Helper()
	dir := t.TempDir()
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(private, "servers.yaml"), []byte(clauses), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
