package main

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

func exampleSettings() settings {
	convergent := true
	return settings{
		Version: settingsVersion, Nickname: "alice \"#: \\ ä", Introducers: []string{"tarn:introducer/v0-x@/ip4/127.0.0.1/tcp/1"},
		Anonymous: true, Connections: &connectionSettings{"tor", "disabled", "tor", "direct", true},
		Client:     &clientSettings{3, 4, 5, "1MiB", &convergent, []string{"v0-x"}, "tarn:helper/v0-y@/ip4/127.0.0.1/tcp/6", true},
		Web:        &webSettings{"127.0.0.1:3456", []string{"tarn.example"}},
		WebDAV:     &webSettings{"127.0.0.1:3465", []string{"files.example"}},
		SFTP:       &sftpSettings{"127.0.0.1:3466"},
		Storage:    &storageSettings{[]string{"/ip4/127.0.0.1/tcp/2"}, []string{"/dns/a/tcp/3", "/dns/b/tcp/3"}, []string{"auto"}, "5GB", true, "10GB"},
		Introducer: &introducerSettings{[]string{"/ip6/::1/tcp/2"}, []string{"/dns/c/tcp/3"}},
		Relay:      &relaySettings{[]string{"/ip6/::1/tcp/9"}, []string{"/dns/f/tcp/9"}, 1, 2, 3, 4, 5, "1GB", "2h", "1d"},
		Manager:    &managerSettings{[]string{"/ip6/::1/tcp/4"}, []string{"/dns/d/tcp/5"}},
		Aggregator: &aggregatorSettings{"15m"},
		Helper:     &helperSettings{[]string{"/ip6/::1/tcp/7"}, []string{"/dns/e/tcp/8"}, "10GB"},
		Renewer:    &renewerSettings{7},
		Tor:        &torSettings{"127.0.0.1:9050", "unix:/run/tor/control"},
	}
}

func TestWrittenSettingsReadTheSame(t *testing.T) {
	want := exampleSettings()
	text, err := want.text()
	if err != nil {
		t.Fatal(err)
	}
	got, warnings, err := parseSettings(text)
	if err != nil || len(warnings) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nreads as %+v, %v, %v", text, got, warnings, err)
	}
}

// TestEverySettingIsExplained: the line before a setting, or before the
// settings that it belongs with, is a comment.
func TestEverySettingIsExplained(t *testing.T) {
	text, err := exampleSettings().text()
	if err != nil {
		t.Fatal(err)
	}
	explained := false
	for line := range strings.Lines(string(text)) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "#"):
			explained = true
		case trimmed == "":
			explained = false
		case strings.HasSuffix(trimmed, ":") && !strings.HasPrefix(line, " "):
			explained = false
		case strings.Contains(trimmed, ":") && !strings.HasPrefix(trimmed, "-") && !explained:
			t.Errorf("no comment explains %q", trimmed)
		}
	}
}

func TestOldNames(t *testing.T) {
	s, warnings, err := parseSettings([]byte("version: 1\nclient:\n  shares.needed: 2\nstorage:\n  reserved_space: 1GB\nweb: {port: none}\n"))
	if err != nil || s.Client.SharesNeeded != 2 || s.Storage.ReservedSpace != "1GB" || s.Web.Listen != "none" {
		t.Fatalf("%+v, %v", s, err)
	}
	if len(warnings) != 3 || !strings.Contains(warnings[0], "line 3: client.shares.needed is now called client.shares-needed") {
		t.Errorf("warnings: %q", warnings)
	}
	for old, now := range renamed {
		if strings.Contains(now, ".") || old == now {
			t.Errorf("%s -> %s is no renaming within a section", old, now)
		}
	}
}

func TestBadSettingsNameTheLine(t *testing.T) {
	for text, parts := range map[string][]string{
		"version: 1\nclient:\n  x: 1\n":                 {"line 3", "no setting x"},
		"version: 1\nnickname: [a]\n":                   {"line 2", "a list", "want text"},
		"version: one\n":                                {"line 1", "`one`", "a number"},
		"version: 1\nclient: {convergent: 7}\n":         {"line 2", "true or false"},
		"version: 1\nintroducers: x\n":                  {"line 2", "a list"},
		"version: 1\nclient: 5\n":                       {"line 2", "client has no settings"},
		"version: 1\nweb:\n":                            {"line 2", "web has no settings"},
		"version: 1\nnickname: a\nnickname: b\n":        {"line 3"},
		"nickname: a\n":                                 {"version is 0"},
		"- a\n":                                         {"the file should have lines"},
		"":                                              {"settings"},
		"---\nversion: 1\n---\nversion: 1\n":            {"settings"},
		"version: 1\nclient: {shares_needed: 1}\n":      {"line 2", "no setting shares_needed"},
		"version: 1\nweb: {port: none, listen: none}\n": {"line 2", "old name"},
		"version: 1\nclient: {shares-needed: 99999999999999999999}\n": {"line 2"},
		strings.Repeat("# padding\n", maxSettings/10+1):               {"more than 256KiB"},
	} {
		_, _, err := parseSettings([]byte(text))
		if !errors.Is(err, errSettings) {
			t.Errorf("%.60q was accepted: %v", text, err)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%.60q: %q is not in %q", text, part, err)
			}
		}
		for _, bad := range []string{"main.", "struct", "!!", "[]string"} {
			if strings.Contains(err.Error(), bad) {
				t.Errorf("%.60q: %q is in %q", text, bad, err)
			}
		}
	}
}

func FuzzSettings(f *testing.F) {
	text, err := exampleSettings().text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("version: 1\nclient: &a {shares.needed: 1}\nweb: *a\n"))
	f.Add([]byte("a: &a [b,b]\nc: &c [*a,*a]\nd: [*c,*c]\n"))
	f.Add([]byte("version: 1\n<<: {nickname: x}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, _, err := parseSettings(content)
		if err != nil {
			if !errors.Is(err, errSettings) {
				t.Errorf("%v", err)
			}
			return
		}
		if s.Client != nil {
			if p, err := s.Client.params(); err == nil && p.Validate() != nil {
				t.Errorf("%+v passed", p)
			}
		}
	})
}

func TestWebAddress(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "none": "", "3456": "127.0.0.1:3456", "0": "127.0.0.1:0", "127.0.0.1:0": "127.0.0.1:0",
		"[::1]:80": "[::1]:80", "0.0.0.0:80": "0.0.0.0:80", "localhost:80": "localhost:80",
	} {
		if got, err := webAddress(text); err != nil || got != want {
			t.Errorf("webAddress(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"65536", ":80", "localhost", "a:b", "1.2.3.4:-1", "1.2.3.4:http", "::1:80", "None", " 80"} {
		if got, err := webAddress(text); err == nil {
			t.Errorf("webAddress(%q) = %q", text, got)
		}
	}
}

func TestKeysAndSecrets(t *testing.T) {
	key := newKey()
	if back, err := parseKey(keyText(key)); err != nil || !back.Equal(key) {
		t.Errorf("a key does not come back: %v", err)
	}
	for _, text := range []string{"", "priv-v0-", strings.ToUpper(keyText(key)), keyText(key) + "a", keyText(key)[8:], "pub" + keyText(key)[4:]} {
		if _, err := parseKey(text); err == nil {
			t.Errorf("%q was read as a key", text)
		}
	}
	for text, ok := range map[string]bool{
		strings.Repeat("a", 26): true, strings.Repeat("a", 52): true, strings.Repeat("a", 25): false,
		strings.Repeat("a", 25) + "b": false, strings.Repeat("a", 104): false, "": false, strings.Repeat("A", 26): false,
	} {
		if _, err := parseConvergence(text); (err == nil) != ok {
			t.Errorf("parseConvergence(%q): %v", text, err)
		}
	}
}

// The key of an onion service is made once, for its owner alone, and each role
// has another.
func TestOnionKeys(t *testing.T) {
	f := folder{t.TempDir()}
	if err := os.Mkdir(f.private(""), 0o700); err != nil {
		t.Fatal(err)
	}
	listen := []string{"/ip4/127.0.0.1/tcp/1", "onion:3457"}
	first, err := f.onionKey("", listen)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.onionKey("", listen)
	if err != nil || !again.Equal(first) {
		t.Errorf("another key at the next start: %v", err)
	}
	info, err := os.Stat(f.private("onion.privkey"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("onion.privkey: %v, %v", info, err)
	}
	other, err := f.onionKey("introducer-", listen)
	if err != nil || other.Equal(first) {
		t.Errorf("two roles with one key: %v", err)
	}
	if none, err := f.onionKey("manager-", listen[:1]); none != nil || err != nil || hasFile(f.private("manager-onion.privkey")) {
		t.Errorf("a key that nothing needs: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	const onion = "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:3457"
	for address, good := range map[string]struct{ listen, announce bool }{
		"/ip4/127.0.0.1/tcp/1":           {true, true},
		"/ip4/127.0.0.1/tcp/0":           {true, false},
		"/ip4/127.0.0.1/udp/1/quic-v1":   {true, true},
		"/ip4/127.0.0.1/udp/0/quic-v1":   {true, false},
		"/dns/example.org/udp/1/quic-v1": {true, true},
		"onion:3457":                     {true, false},
		onion:                            {false, true},
		"onion:0":                        {},
		"/ip4/127.0.0.1/udp/1":           {},
		"/ip4/127.0.0.1/tcp/1/quic-v1":   {},
		"/ip4/127.0.0.1/udp/1/quic":      {},
		"/ip4/127.0.0.1/quic-v1":         {},
		"/onion3/short:1":                {},
	} {
		if err := checkListen([]string{address}); (err == nil) != good.listen {
			t.Errorf("listen at %s: %v", address, err)
		}
		if err := checkAnnounce([]string{address}); (err == nil) != good.announce {
			t.Errorf("announce %s: %v", address, err)
		}
	}
}
