package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

// settingsText is what create-… writes. Values go through quote, so that no
// nickname can become a setting.
var settingsText = template.Must(template.New("tarn.yaml").Funcs(template.FuncMap{
	"quote": quoteYAML, "list": listYAML,
}).Parse(`# Settings of a Tarn node, read when it starts. It does not start with a
# setting that it doesn't know or a value that can't be right; the error names
# the line. Sizes are written as 5GB, 5GiB or 500M.
version: {{.Version}}

# What the node calls itself, for people; at most 64 bytes.
nickname: {{quote .Nickname}}

# References of introducers, tarn:introducer/v0-...@/ip4/...: from them the
# node learns of storage servers, and its own storage server is made known.
introducers:{{list .Introducers}}

# true: nothing is dialled, listened on or announced that would make this node's
# address known. It does not start with a setting that would. It needs Tor.
anonymous: {{.Anonymous}}
{{with .Connections}}
connections:
  # How addresses of others are dialled: direct, tor or disabled.
  tcp: {{quote .TCP}}
  quic: {{quote .QUIC}}
  onion: {{quote .Onion}}
  relay: {{quote .Relay}}
  # true: a connection through a relay may become a direct one.
  punch: {{.Punch}}
{{else}}
# How addresses of others are dialled: direct, tor or disabled. Of single servers
# private/servers.yaml may say something else, see tarn servers --help.
# connections: {tcp: direct, quic: disabled, onion: disabled, relay: direct}
{{end}}{{with .Client}}
# The client stores files on servers and reads them. Its account is in
# private/account: keep a copy of that file in a safe place.
client:
  # Any shares-needed of the shares-total shares of a file give it back. An
  # upload counts when shares-happy servers hold different shares.
  shares-needed: {{.SharesNeeded}}
  shares-happy: {{.SharesHappy}}
  shares-total: {{.SharesTotal}}
  # How much of a file is encoded at a time; it is part of the capability of a
  # convergent file.
  segment-size: {{.SegmentSize}}
  # true: the same file gets the same capability again (its key depends on
  # private/convergence). false: each upload has a key of its own.
  convergent: {{.Convergent}}
  # A member of an account manager's grid stores on the servers of that grid
  # alone, and on those named here, v0-...
  servers:{{list .Servers}}
  # Reference of a helper, tarn:helper/v0-...@/ip4/...: with put --helper a file
  # is sent there once, and the helper makes and places its shares.
  helper: {{quote .Helper}}
  # true: a server that is short of room may pass a share on to another one that
  # the client names to it. The two then know that they serve one client.
  subcontract: {{.Subcontract}}
{{end}}{{with .Web}}
# The gateway: HTTP for browsers and other programs on this machine.
web:
  # Address and port; port 0 is any free one (see node.url while the node
  # runs). none: no gateway. Whoever reaches this address can store files on
  # this node's account.
  listen: {{quote .Listen}}
  # Names besides localhost by which the gateway may be addressed.
  hosts:{{list .Hosts}}
{{end}}{{with .WebDAV}}
# WebDAV, by which programs and operating systems use directories of the grid as
# folders. Users are added with: tarn user add.
webdav:
  # Address and port; port 0 is any free one (see webdav.url while the node
  # runs). none: no WebDAV. Passwords are readable on the way, so beyond this
  # machine a server with TLS should stand before it.
  listen: {{quote .Listen}}
  # Names besides localhost by which it may be addressed.
  hosts:{{list .Hosts}}
{{end}}{{with .SFTP}}
# SFTP, for sftp, scp, sshfs and the like. Users are added with: tarn user add.
sftp:
  # Address and port; port 0 is any free one (see sftp.url while the node runs).
  # none: no SFTP.
  listen: {{quote .Listen}}
{{end}}{{with .Storage}}
# The storage server keeps shares for accounts that its operator has added
# with: tarn server add-account.
storage:
  # Addresses to accept connections on. 0.0.0.0 is every interface,
  # /ip4/0.0.0.0/udp/3457/quic-v1 is QUIC, and onion:3457 an onion service made
  # through Tor (see tor below); its key is in private/onion.privkey.
  listen:{{list .Listen}}
  # Addresses under which others reach it, if they are not those above.
  announce:{{list .Announce}}
  # Where nobody can dial this server, because it is behind a router, it is
  # reached through one of these relays: references, tarn:relay/v0-...@/ip4/...,
  # or auto for those that the introducers know. What it listens on is then not
  # announced.
  relays:{{list .Relays}}
  # This much of the disk is left free.
  reserved-space: {{.ReservedSpace}}
  # true: only accounts may read. false: whoever knows a share's storage index
  # may, as in Tahoe-LAFS.
  reads-need-account: {{.ReadsNeedAccount}}
  # With less room than this, beyond what is reserved, shares are passed on to
  # other servers where clients allow it. 0B: never.
  pass-on-below: {{.PassOnBelow}}
{{end}}{{with .Introducer}}
# The introducer tells clients of storage servers. Its reference is in
# private/introducer.ref.
introducer:
  # Addresses to accept connections on. 0.0.0.0 is every interface.
  listen:{{list .Listen}}
  # Addresses under which others reach it, if they are not those above.
  announce:{{list .Announce}}
{{end}}{{with .Relay}}
# The relay passes on connections to storage servers that nobody can dial, and
# can't read them. Its reference is in private/relay.ref. Take the section away
# to relay no more.
relay:
  # Addresses to accept connections on. 0.0.0.0 is every interface.
  listen:{{list .Listen}}
  # Addresses under which others reach it, if they are not those above.
  announce:{{list .Announce}}
  # How many servers have a slot, in all and from one network address.
  reservations: {{.Reservations}}
  reservations-per-address: {{.ReservationsPerAddress}}
  # How many connections are passed on at a time: in all, to one server, and
  # from one network address.
  circuits: {{.Circuits}}
  circuits-per-server: {{.CircuitsPerServer}}
  circuits-per-address: {{.CircuitsPerAddress}}
  # A slot is for this time unless it is renewed. In each such time this much
  # is passed on for a server, both ways together.
  time: {{.Time}}
  data: {{.Data}}
  # A connection ends after this time in any case.
  circuit-time: {{.CircuitTime}}
{{end}}{{with .Manager}}
# The account manager gives out memberships in a grid whose servers accept its
# key. Members are added with: tarn manager add.
manager:
  # Addresses to accept connections on. 0.0.0.0 is every interface.
  listen:{{list .Listen}}
  # Addresses under which members reach it, if they are not those above.
  announce:{{list .Announce}}
{{end}}{{with .Aggregator}}
# The usage aggregator asks all servers what the members hold.
aggregator:
  # How often, such as 15m, 1h or 1d.
  interval: {{.Interval}}
{{end}}{{with .Helper}}
# The helper encodes and places files for clients that send them once. Its
# reference is in private/helper.ref.
helper:
  # Addresses to accept connections on. 0.0.0.0 is every interface.
  listen:{{list .Listen}}
  # Addresses under which clients reach it, if they are not those above.
  announce:{{list .Announce}}
  # How much ciphertext it keeps at most until that is placed.
  space: {{.Space}}
{{end}}{{with .Renewer}}
# The renewer keeps alive the files of those who gave it a renewal cap, while
# their own nodes are off. Caps are added with: tarn renewer add.
renewer:
  # How many caps it takes at most. It is connected to each server once for
  # each of them.
  caps: {{.Caps}}
{{end}}{{with .Repairer}}
# The repairer keeps the files whole of those who gave it a repair cap, while
# their own nodes are off. Caps are added with: tarn repairer add.
repairer:
  # How many files it looks after at most.
  files: {{.Files}}
  # About how often each is checked, and how often all of its shares are read.
  every: {{.Every}}
  verify-every: {{.VerifyEvery}}
{{end}}
# A Tor that runs beside the node.
{{with .Tor}}tor:
  # Where connections go that are to be made through Tor.
  socks: {{quote .SOCKS}}
  # Makes an onion service where a role listens at onion:3457 or another port.
  # Its password, if it has one, is in private/tor.password; else its cookie file
  # is read.
  control: {{quote .Control}}
{{else}}# tor:
#   socks: 127.0.0.1:9050
#   control: 127.0.0.1:9051
{{end}}`))

// text is the file, with a comment at each setting.
func (s settings) text() ([]byte, error) {
	s.Version = settingsVersion
	var b bytes.Buffer
	if err := settingsText.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("write the settings: %w", err)
	}
	return b.Bytes(), nil
}

// quoteYAML is a double-quoted YAML scalar: for printable text, Go's quoting
// is YAML's.
func quoteYAML(s string) string { return strconv.Quote(s) }

// listYAML is what stands after the name of a list and its colon.
func listYAML(items []string) string {
	if len(items) == 0 {
		return " []"
	}
	var b strings.Builder
	for _, item := range items {
		b.WriteString("\n    - " + quoteYAML(item))
	}
	return b.String()
}
