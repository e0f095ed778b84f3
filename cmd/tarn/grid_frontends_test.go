package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	client "github.com/pkg/sftp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// sshKeyCommand is "sshkey FILE": makes an SSH key, and FILE.pub.
func sshKeyCommand(ts *testscript.TestScript, _ bool, args []string) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	block, err := ssh.MarshalPrivateKey(private, "")
	ts.Check(err)
	key, err := ssh.NewPublicKey(public)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(block), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), ssh.MarshalAuthorizedKey(key), 0o600))
}

// readCapCommand is "readcap FILE TO": the capability that can read the empty
// directory that an empty mutable file is, from what put --json said of that.
func readCapCommand(ts *testscript.TestScript, _ bool, args []string) {
	var made struct {
		ReadCap string `json:"read_cap"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &made))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Replace(made.ReadCap, "URI:SSK", "URI:DIR2", 1)+"\n"), 0o600))
}

// frontendsCommand is "frontends NODE": WebDAV and SFTP at free ports.
func frontendsCommand(ts *testscript.TestScript, _ bool, args []string) {
	settings := folder{ts.MkAbs(args[0])}.settings()
	text := ts.ReadFile(settings) + "\nwebdav: {listen: 127.0.0.1:0}\nsftp: {listen: 127.0.0.1:0}\n"
	ts.Check(os.WriteFile(settings, []byte(text), 0o600))
}

// davCommand is "dav STATUS NODE USER:PASSWORD METHOD PATH [NAME:VALUE...] [<FILE] [>FILE]".
func davCommand(ts *testscript.TestScript, _ bool, args []string) {
	base := strings.TrimSpace(ts.ReadFile(args[1] + "/webdav.url"))
	var body io.Reader
	out := ""
	header := http.Header{}
	if args[3] == "PROPFIND" {
		header.Set("Depth", "1")
	}
	for _, a := range args[5:] {
		if from, ok := strings.CutPrefix(a, "<"); ok {
			body = strings.NewReader(ts.ReadFile(from))
		} else if to, ok := strings.CutPrefix(a, ">"); ok {
			out = to
		} else {
			name, value, _ := strings.Cut(a, ":")
			header.Set(name, value)
		}
	}
	r, err := http.NewRequest(args[3], strings.TrimSuffix(base, "/")+args[4], body)
	ts.Check(err)
	user, password, _ := strings.Cut(args[2], ":")
	r.Header = header
	r.SetBasicAuth(user, password)
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if strconv.Itoa(answer.StatusCode) != args[0] {
		ts.Fatalf("%s: %s", answer.Status, text)
	}
	if out != "" {
		ts.Check(os.WriteFile(ts.MkAbs(out), text, 0o600))
	}
}

// sftpCommand is "sftp NODE USER KEY put FILE PATH", or get PATH FILE, or ls PATH
// FILE; "! sftp NODE USER KEY" is not let in.
func sftpCommand(ts *testscript.TestScript, negated bool, args []string) {
	at, err := url.Parse(strings.TrimSpace(ts.ReadFile(args[0] + "/sftp.url")))
	ts.Check(err)
	key, err := ssh.ParsePrivateKey([]byte(ts.ReadFile(args[2])))
	ts.Check(err)
	line, err := ssh.Dial("tcp", at.Host, &ssh.ClientConfig{
		User: args[1], Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if (err != nil) != negated {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if negated {
		return
	}
	defer line.Close()
	c, err := client.NewClient(line)
	ts.Check(err)
	switch args[3] {
	case "put":
		f, err := c.Create(args[5])
		ts.Check(err)
		_, err = f.ReadFrom(strings.NewReader(ts.ReadFile(args[4])))
		ts.Check(err)
		ts.Check(f.Close())
	case "get":
		f, err := c.Open(args[4])
		ts.Check(err)
		var content bytes.Buffer
		_, err = f.WriteTo(&content)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[5]), content.Bytes(), 0o600))
	case "ls":
		list, err := c.ReadDir(args[4])
		ts.Check(err)
		var names strings.Builder
		for _, i := range list {
			names.WriteString(i.Name() + "\n")
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[5]), []byte(names.String()), 0o600))
	default:
		ts.Fatalf("sftp can't %s", args[3])
	}
}
