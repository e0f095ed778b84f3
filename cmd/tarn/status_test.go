package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/web/control"
)

func TestStatusOfOnionServices(t *testing.T) {
	var out strings.Builder
	since := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	err := writeStatus(&out, control.Status{Started: since, Onions: []control.OnionStatus{
		{Role: "storage", Address: "/onion3/aaaa:3457", Up: true, Since: since},
		{Role: "helper", Address: "/onion3/bbbb:3460", Since: since, LastError: "Tor does not answer"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := "Onion service (storage): up since " + clock(since) + ", /onion3/aaaa:3457\n" +
		"Onion service (helper): not up since " + clock(since) + ", /onion3/bbbb:3460: Tor does not answer\n"
	if _, got, _ := strings.Cut(out.String(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStatusIsALineForEachServer(t *testing.T) {
	var out strings.Builder
	err := writeStatus(&out, control.Status{Servers: []control.ServerStatus{
		{Server: "v0-ccccccccdddd", Nickname: "two", State: "backoff", LastError: "no answer: all failed\n  * [/ip4/127.0.0.1/tcp/2]\trefused"},
		{Server: "v0-aaaaaaaabbbb", Nickname: "one", State: "logged-in", LoggedIn: true, Address: "/ip4/127.0.0.1/tcp/1", Room: 299_000},
		{Server: "v0-eeeeeeeeffff", State: "connected", Address: "/ip4/127.0.0.1/tcp/3", LastError: "no account"},
	}, Lent: []control.ServerStatus{
		{Server: "v0-aaaaaaaabbbb", Nickname: "one", State: "connected", Address: "/ip4/127.0.0.1/tcp/1"},
		{Server: "v0-aaaaaaaabbbb", Nickname: "one", State: "dialing", Account: "pub-v0-aaaaaaaabbbb"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"server  v0-eeeeeeee  -    connected  -  /ip4/127.0.0.1/tcp/3: no account",
		"server  v0-aaaaaaaa  one  logged-in  -  /ip4/127.0.0.1/tcp/1, room for 299kB",
		"server  v0-cccccccc  two  backoff    -  no answer: all failed * [/ip4/127.0.0.1/tcp/2] refused",
		"lent    v0-aaaaaaaa  one  connected  -  without a key, /ip4/127.0.0.1/tcp/1",
		"lent    v0-aaaaaaaa  one  dialing    -  under pub-v0-aaaaaaaa",
	}
	_, table, _ := strings.Cut(out.String(), "\n")
	if got := strings.TrimSpace(table); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
