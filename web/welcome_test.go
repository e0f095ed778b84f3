package web_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// rawStatus sends a path as it is, which net/http's client would not.
func rawStatus(t *testing.T, address, method, path string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

func status() tarn.Status {
	since := time.Unix(1_700_000_000, 500_000_000)
	return tarn.Status{
		Nickname: "<b>alice</b>",
		Introducers: []tarn.IntroducerStatus{
			{Ref: tarn.IntroducerRef{Hints: []grid.Hint{"/ip4/127.0.0.1/tcp/1"}}, Connected: true, Since: since},
			{LastError: "refused"},
		},
		Servers: []tarn.ServerStatus{
			{Server: grid.ServerID{1}, Nickname: "s1", State: "logged-in", LoggedIn: true, Address: "/ip4/127.0.0.1/tcp/2", Since: since, Room: 5},
			{Server: grid.ServerID{2}, Nickname: "s2", State: "connected", Address: "/ip4/127.0.0.1/tcp/3"},
			{Server: grid.ServerID{3}, Nickname: "s3", State: "connected", Address: "/ip4/127.0.0.1/tcp/4", LastError: "no account"},
			{Server: grid.ServerID{4}, Nickname: "s4", State: "backoff", LastError: "connection refused"},
			{Server: grid.ServerID{5}, Nickname: "<script>", State: "dialing"},
			{Server: grid.ServerID{6}, State: "idle"},
		},
	}
}

func TestWelcomeForPrograms(t *testing.T) {
	a := ask(t, "GET", start(t, &memnode.Node{Now: status()})+"/?t=json", nil)
	var got struct {
		Introducers struct{ Statuses []string }
		Servers     []map[string]any
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Introducers.Statuses; len(s) != 2 || s[0] != "Connected to /ip4/127.0.0.1/tcp/1" || s[1] != "Not connected: refused" {
		t.Errorf("introducers: %q", s)
	}
	want := []string{
		"Connected to /ip4/127.0.0.1/tcp/2", "Logging in at /ip4/127.0.0.1/tcp/3",
		"Connected to /ip4/127.0.0.1/tcp/4, without an account: no account", "Not connected: connection refused",
		"Trying to connect", "Not connected",
	}
	for i, s := range got.Servers {
		connected := strings.HasPrefix(strings.ToLower(s["connection_status"].(string)), "connected")
		if s["connection_status"] != want[i] || connected != (s["version"] != nil) {
			t.Errorf("server %d: %v", i, s)
		}
		for _, field := range []string{"nodeid", "available_space", "nickname", "version", "last_received_data"} {
			if _, ok := s[field]; !ok {
				t.Errorf("server %d has no %s", i, field)
			}
		}
	}
	first := got.Servers[0]
	if first["nodeid"] != (grid.ServerID{1}).String() || first["available_space"] != 5.0 || first["last_received_data"] != 1_700_000_000.5 {
		t.Errorf("first server: %v", first)
	}
}

func TestWelcomeWithNothingKnownHasLists(t *testing.T) {
	ask(t, "GET", start(t, &memnode.Node{})+"/?t=json", nil).want(t, 200, `"servers": []`)
	ask(t, "GET", start(t, &memnode.Node{})+"/", nil).want(t, 200, "None yet")
}

func TestWelcomeForPeople(t *testing.T) {
	address := start(t, &memnode.Node{Now: status()})
	a := ask(t, "GET", address+"/", nil)
	a.want(t, 200, "6 storage servers known, 2 connected, 1 with an account")
	page := string(a.body)
	for _, bad := range []string{"<b>alice", "<script", "http://", "style="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	policy := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") {
		t.Errorf("policy %q", policy)
	}
	style := ask(t, "GET", address+"/style.css", nil)
	style.want(t, 200, "light-dark(")
	if style.Header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style is %s", style.Header.Get("Content-Type"))
	}
}
