package main

import (
	"io"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// webCommand is "web DIR METHOD PATH STATUS [FILE]": a request to the node's
// gateway, with FILE as the body. The answer is standard output, and LOCATION is
// where it sends on to.
func webCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: web DIR METHOD PATH STATUS [FILE]")
	}
	body := ""
	if len(args) > 4 {
		body = ts.ReadFile(args[4])
	}
	response, answer := askGateway(ts, args[0], args[1], args[2], body)
	_, err := io.WriteString(ts.Stdout(), answer)
	ts.Check(err)
	if !strings.HasPrefix(response.Status, args[3]) {
		ts.Fatalf("%s %s: status %s, want %s: %s", args[1], args[2], response.Status, args[3], answer)
	}
	ts.Setenv("LOCATION", response.Header.Get("Location"))
}

func askGateway(ts *testscript.TestScript, dir, method, path, body string) (*http.Response, string) {
	base := strings.TrimSuffix(strings.TrimSpace(ts.ReadFile(dir+"/node.url")), "/")
	r, err := http.NewRequest(method, base+path, strings.NewReader(body))
	ts.Check(err)
	response, err := http.DefaultTransport.RoundTrip(r) // no redirects
	ts.Check(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	ts.Check(err)
	return response, string(answer)
}

// finishedCommand is "finished DIR PATH": the answer of a long operation, once
// that has come to its end, is standard output.
func finishedCommand(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, func() bool {
		_, answer := askGateway(ts, args[0], http.MethodGet, args[1], "")
		if strings.HasPrefix(answer, "finished: no") {
			return false
		}
		_, err := io.WriteString(ts.Stdout(), answer)
		ts.Check(err)
		return true
	})
}

// fromlistingCommand is "fromlisting VAR ALIAS FILE": the capability of an alias
// in what list-aliases printed.
func fromlistingCommand(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		if name, capability, _ := strings.Cut(line, ":"); name == args[1] {
			ts.Setenv(args[0], strings.TrimSpace(capability))
			return
		}
	}
	ts.Fatalf("there is no alias %s", args[1])
}
