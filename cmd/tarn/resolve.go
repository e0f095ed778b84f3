package main

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

// node is what tarn.yaml and the key files say.
type node struct {
	config tarn.Config
	// web is where the gateway listens, host:port; empty for none.
	web      string
	hosts    []string
	warnings []string
	// frontends are WebDAV and SFTP.
	frontends frontends
}

// load reads everything in the folder that a node is made from.
func (f folder) load(log *slog.Logger) (node, error) {
	s, warnings, err := f.readSettings()
	if err != nil {
		return node{}, err
	}
	n := node{warnings: warnings}
	if n.config, err = s.config(f); err != nil {
		return node{}, err
	}
	n.config.Dir, n.config.Log = f.dir, log
	if n.config.Control, err = f.ownKey(controlKeyFile); err != nil {
		return node{}, err
	}
	if s.Web != nil {
		n.hosts = s.Web.Hosts
		if n.web, err = webAddress(s.Web.Listen); err != nil {
			return node{}, f.wrong("web.listen", err)
		}
		if s.Client == nil && n.web != "" {
			return node{}, f.wrong("web", errors.New("a gateway needs the client section"))
		}
	}
	n.frontends, err = s.frontends(f)
	return n, err
}

func (f folder) readSettings() (settings, []string, error) {
	if err := f.check(); err != nil {
		return settings{}, nil, err
	}
	content, err := os.ReadFile(f.settings())
	if err != nil {
		return settings{}, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	s, warnings, err := parseSettings(content)
	if err != nil {
		return settings{}, nil, fmt.Errorf("%s: %w", f.settings(), err)
	}
	return s, warnings, nil
}

// wrong is an error about the value of a setting.
func (f folder) wrong(setting string, err error) error {
	return fmt.Errorf("%s: %w: %s: %w", f.settings(), errSettings, setting, err)
}

func (s settings) config(f folder) (tarn.Config, error) {
	c := tarn.Config{Nickname: s.Nickname}
	if err := checkNickname(s.Nickname); err != nil {
		return c, f.wrong("nickname", err)
	}
	for i, text := range s.Introducers {
		ref, err := tarn.ParseIntroducerRef(text)
		if err != nil {
			return c, f.wrong(fmt.Sprintf("introducers, number %d", i+1), err)
		}
		c.Introducers = append(c.Introducers, ref)
	}
	var err error
	if c.Tor, err = s.tor(f); err != nil {
		return c, err
	}
	c.Anonymous = s.Anonymous
	if c.Connections, err = s.Connections.config(s.Anonymous, c.Tor.SOCKS != ""); err != nil {
		return c, f.wrong("connections", err)
	}
	for _, kind := range tarn.AddressKinds() {
		if c.Connections.Of(kind) == "tor" && c.Tor.SOCKS == "" {
			return c, f.wrong("tor.socks", fmt.Errorf("it is not set, and %s addresses are to be dialled through Tor (such as 127.0.0.1:9050, SocksPort in Tor's settings)", kind))
		}
	}
	if s.Client != nil {
		if c.Client, err = s.Client.config(f); err != nil {
			return c, err
		}
	}
	if s.Storage != nil {
		if c.Storage, err = s.Storage.config(f); err != nil {
			return c, err
		}
	}
	if s.Introducer != nil {
		if c.Introducer, err = s.Introducer.config(f); err != nil {
			return c, err
		}
	}
	if s.Relay != nil {
		if c.Relay, err = s.Relay.config(f); err != nil {
			return c, err
		}
	}
	if s.Manager != nil {
		if c.Manager, err = s.Manager.config(f); err != nil {
			return c, err
		}
	}
	if s.Aggregator != nil {
		if c.Aggregator, err = s.Aggregator.config(f, s.Manager != nil); err != nil {
			return c, err
		}
	}
	if s.Helper != nil {
		if c.Helper, err = s.Helper.config(f); err != nil {
			return c, err
		}
	}
	if s.Renewer != nil {
		if c.Renewer, err = s.Renewer.config(f); err != nil {
			return c, err
		}
	}
	if s.Repairer != nil {
		if c.Repairer, err = s.Repairer.config(f); err != nil {
			return c, err
		}
	}
	if c.Client == nil && c.Storage == nil && c.Introducer == nil && c.Relay == nil && c.Manager == nil && c.Aggregator == nil && c.Helper == nil && c.Renewer == nil && c.Repairer == nil {
		return c, f.wrong("the file", errors.New("none of the sections client, storage, introducer, relay, manager, aggregator, helper, renewer and repairer is there, so there is nothing to run"))
	}
	return c, nil
}

// tor is where Tor is. Who is to be reached as an onion service needs its
// control port.
func (s settings) tor(f folder) (tarn.TorConfig, error) {
	var c tarn.TorConfig
	if s.Tor != nil {
		c = tarn.TorConfig{SOCKS: s.Tor.SOCKS, Control: s.Tor.Control}
	}
	if err := c.Validate(); err != nil {
		return c, f.wrong("tor", err)
	}
	if c.Control == "" {
		for _, address := range s.listening() {
			if _, ok := tarn.OnionPort(address); ok {
				return c, f.wrong("tor.control", fmt.Errorf("it is not set, and %s needs it (such as 127.0.0.1:9051, ControlPort in Tor's settings)", address))
			}
		}
	}
	if !hasFile(f.private(torPasswordFile)) {
		return c, nil
	}
	var err error
	c.Password, err = readSecret(f, torPasswordFile, func(text string) (string, error) { return text, nil })
	return c, err
}

// listening are the addresses that all roles listen at.
func (s settings) listening() []string {
	var all []string
	if s.Storage != nil {
		all = append(all, s.Storage.Listen...)
	}
	if s.Introducer != nil {
		all = append(all, s.Introducer.Listen...)
	}
	if s.Manager != nil {
		all = append(all, s.Manager.Listen...)
	}
	if s.Helper != nil {
		all = append(all, s.Helper.Listen...)
	}
	return all
}

// config takes the defaults for what is not set; onion addresses are dialled where
// there is a Tor.
func (s *connectionSettings) config(anonymous, tor bool) (tarn.Connections, error) {
	if s == nil {
		s = &connectionSettings{}
	}
	ways := map[string]string{"tcp": s.TCP, "quic": s.QUIC, "onion": s.Onion, "relay": s.Relay}
	if tor && s.Onion == "" {
		ways["onion"] = "tor"
	}
	maps.DeleteFunc(ways, func(_, way string) bool { return way == "" })
	return tarn.ConnectionsOf(ways, s.Punch, anonymous)
}

// checkAnonymous refuses whatever would make an anonymous node's address known.
func (n node) checkAnonymous(f folder) error {
	reasons := n.config.Revealing()
	if host, _, err := net.SplitHostPort(n.web); err == nil && !isLocal(host) {
		reasons = append(reasons, fmt.Sprintf("web.listen: %s can be reached from other machines", n.web))
	}
	reasons = append(reasons, n.frontends.revealing()...)
	if !n.config.Anonymous || len(reasons) == 0 {
		return nil
	}
	return f.wrong("anonymous", &tarn.NotAnonymous{Reasons: reasons})
}

// isLocal reports whether a host is this machine for itself alone.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (s *clientSettings) config(f folder) (*tarn.ClientConfig, error) {
	params, err := s.params()
	if err != nil {
		return nil, f.wrong("client", err)
	}
	c := &tarn.ClientConfig{Params: params, Subcontract: s.Subcontract}
	for i, text := range s.Servers {
		id, err := grid.ParseServerID(text)
		if err != nil {
			return nil, f.wrong(fmt.Sprintf("client.servers, number %d", i+1), err)
		}
		c.Servers = append(c.Servers, id)
	}
	if s.Helper != "" {
		ref, err := tarn.ParseHelperRef(s.Helper)
		if err != nil {
			return nil, f.wrong("client.helper", err)
		}
		c.Helper = &ref
	}
	if c.Account, err = readSecret(f, accountFile, lease.ParseAccount); err != nil {
		return nil, err
	}
	if c.Roles, err = readRoles(f); err != nil {
		return nil, err
	}
	if s.Convergent == nil || *s.Convergent {
		if c.Convergence, err = readSecret(f, convergenceFile, parseConvergence); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// params are the encoding parameters; what is not set is Tahoe's default.
func (s *clientSettings) params() (file.Params, error) {
	p := file.DefaultParams()
	for _, set := range []struct {
		value int
		into  *int
	}{{s.SharesNeeded, &p.Needed}, {s.SharesHappy, &p.Happy}, {s.SharesTotal, &p.Total}} {
		if set.value != 0 {
			*set.into = set.value
		}
	}
	if s.SegmentSize != "" {
		size, err := parseSize(s.SegmentSize)
		if err != nil {
			return p, fmt.Errorf("segment-size: %w", err)
		}
		p.SegmentSize = size
	}
	return p, p.Validate()
}

// optionalSize is 0 for a setting that is not there.
func optionalSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	return parseSize(text)
}

func (s *storageSettings) config(f folder) (*tarn.StorageConfig, error) {
	c := &tarn.StorageConfig{Listen: s.Listen, ReadsNeedAccount: s.ReadsNeedAccount}
	if err := checkListen(s.Listen); err != nil {
		return nil, f.wrong("storage.listen", err)
	}
	if err := checkAnnounce(s.Announce); err != nil {
		return nil, f.wrong("storage.announce", err)
	}
	c.Announce = hints(s.Announce)
	var err error
	if c.Relays, err = storageRelays(s.Relays); err != nil {
		return nil, f.wrong("storage.relays", err)
	}
	if c.ReservedSpace, err = optionalSize(s.ReservedSpace); err != nil {
		return nil, f.wrong("storage.reserved-space", err)
	}
	if c.PassOnBelow, err = optionalSize(s.PassOnBelow); err != nil {
		return nil, f.wrong("storage.pass-on-below", err)
	}
	if c.OnionKey, err = f.onionKey("", s.Listen); err != nil {
		return nil, err
	}
	if err := f.identityOf(c); err != nil {
		return nil, err
	}
	c.Key, err = readSecret(f, serverKeyFile, parseKey)
	return c, err
}

func (s *introducerSettings) config(f folder) (*tarn.IntroducerConfig, error) {
	if err := checkListen(s.Listen); err != nil {
		return nil, f.wrong("introducer.listen", err)
	}
	if err := checkAnnounce(s.Announce); err != nil {
		return nil, f.wrong("introducer.announce", err)
	}
	onion, err := f.onionKey("introducer-", s.Listen)
	if err != nil {
		return nil, err
	}
	key, err := readSecret(f, introducerKeyFile, parseKey)
	return &tarn.IntroducerConfig{Listen: s.Listen, OnionKey: onion, Announce: hints(s.Announce), Key: key}, err
}

func (s *managerSettings) config(f folder) (*tarn.ManagerConfig, error) {
	if err := checkListen(s.Listen); err != nil {
		return nil, f.wrong("manager.listen", err)
	}
	if err := checkAnnounce(s.Announce); err != nil {
		return nil, f.wrong("manager.announce", err)
	}
	onion, err := f.onionKey("manager-", s.Listen)
	if err != nil {
		return nil, err
	}
	key, err := readSecret(f, managerKeyFile, parseKey)
	return &tarn.ManagerConfig{Listen: s.Listen, OnionKey: onion, Announce: hints(s.Announce), Key: key}, err
}

func (s *helperSettings) config(f folder) (*tarn.HelperConfig, error) {
	if err := checkListen(s.Listen); err != nil {
		return nil, f.wrong("helper.listen", err)
	}
	if err := checkAnnounce(s.Announce); err != nil {
		return nil, f.wrong("helper.announce", err)
	}
	space, err := parseSize(cmp.Or(s.Space, defaultHelperSpace))
	if err != nil {
		return nil, f.wrong("helper.space", err)
	}
	onion, err := f.onionKey("helper-", s.Listen)
	if err != nil {
		return nil, err
	}
	key, err := f.ownKey(helperKeyFile)
	return &tarn.HelperConfig{Listen: s.Listen, OnionKey: onion, Announce: hints(s.Announce), Key: key, Space: space}, err
}

// maxCaps is the most caps that a renewer may be set to take.
const maxCaps = 10_000

// config takes the key by which a client that is in the folder, too, acts as a
// renewer.
func (s *renewerSettings) config(f folder) (*tarn.RenewerConfig, error) {
	if s.Caps < 1 || s.Caps > maxCaps {
		return nil, f.wrong("renewer.caps", fmt.Errorf("%d (want 1 to %d)", s.Caps, maxCaps))
	}
	key, err := f.ownKey(roleKeyFile(renewerRole))
	return &tarn.RenewerConfig{Key: key, Caps: s.Caps}, err
}

// maxFiles is the most files that a repairer may be set to look after,
// leastEvery how often at most each is checked.
const (
	maxFiles   = 1_000_000
	leastEvery = time.Minute
)

// config takes the key by which a client that is in the folder, too, acts as a
// repairer.
func (s *repairerSettings) config(f folder) (*tarn.RepairerConfig, error) {
	c, what, err := s.check()
	if err != nil {
		return nil, f.wrong("repairer."+what, err)
	}
	c.Key, err = f.ownKey(roleKeyFile(repairerRole))
	return &c, err
}

// check names the setting that is wrong.
func (s *repairerSettings) check() (c tarn.RepairerConfig, what string, err error) {
	if s.Files < 1 || s.Files > maxFiles {
		return c, "files", fmt.Errorf("%d (want 1 to %d)", s.Files, maxFiles)
	}
	c.Files = s.Files
	if c.Every, err = interval(cmp.Or(s.Every, defaultEvery)); err != nil {
		return c, "every", err
	}
	if c.Verify, err = interval(cmp.Or(s.VerifyEvery, defaultVerifyEvery)); err != nil {
		return c, "verify-every", err
	}
	return c, "", nil
}

func interval(text string) (time.Duration, error) {
	d, ok := parseDuration(text)
	if !ok || d < leastEvery {
		return 0, fmt.Errorf("%w: %q (want a duration such as 12h or 30d, at least %v)", errBadTime, text, leastEvery)
	}
	return d, nil
}

// ownKey reads a key, or makes it where there is none yet.
func (f folder) ownKey(name string) (ed25519.PrivateKey, error) {
	if path := f.private(name); !hasFile(path) {
		if err := writeFile(path, []byte(keyText(newKey())+"\n"), 0o600); err != nil {
			return nil, notWritten(path, err)
		}
	}
	return readSecret(f, name, parseKey)
}

// leastInterval is how often an aggregator may ask at most.
const leastInterval = 10 * time.Second

// config takes authority and names from files where there is no account manager
// that has both.
func (s *aggregatorSettings) config(f folder, manager bool) (*tarn.AggregatorConfig, error) {
	c := &tarn.AggregatorConfig{Interval: time.Hour}
	if s.Interval != "" {
		interval, ok := parseDuration(s.Interval)
		if !ok || interval < leastInterval {
			return nil, f.wrong("aggregator.interval", fmt.Errorf("%q (want one such as 15m, at least %v)", s.Interval, leastInterval))
		}
		c.Interval = interval
	}
	if manager {
		return c, nil
	}
	var err error
	c.Members = f.members
	c.Authority, err = readSecret(f, aggregatorFile, func(text string) (lease.Authority, error) {
		return lease.ReadAuthority(strings.NewReader(text))
	})
	return c, err
}

// members reads what tarn manager export --json wrote; no file is nobody.
func (f folder) members() ([]tarn.Member, error) {
	content, err := os.ReadFile(f.private(membersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	members, err := control.ParseMembers(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.private(membersFile), err)
	}
	return members, nil
}

func hints(addresses []string) []grid.Hint {
	out := make([]grid.Hint, len(addresses))
	for i, a := range addresses {
		out[i] = grid.Hint(a)
	}
	return out
}

// checkListen wants one address at least.
func checkListen(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("want at least one address such as /ip4/127.0.0.1/tcp/3457")
	}
	return checkAddresses(slices.DeleteFunc(slices.Clone(addresses), func(a string) bool {
		_, ok := tarn.OnionPort(a)
		return ok
	}), 0)
}

// checkAnnounce wants ports that someone can connect to.
func checkAnnounce(addresses []string) error { return checkAddresses(addresses, 1) }

// checkAddresses wants multiaddrs of the form that nodes listen on and dial,
// with a port from leastPort on.
func checkAddresses(addresses []string, leastPort uint64) error {
	for _, a := range addresses {
		if err := checkAddress(a, leastPort); err != nil {
			return fmt.Errorf("%q: %w (want one such as /ip4/127.0.0.1/tcp/3457 or /dns/one.example.org/tcp/3457, with /udp/3457/quic-v1 for QUIC; to listen, also onion:3457)", a, err)
		}
	}
	return nil
}

var onionAddress = regexp.MustCompile(`^/onion3/[a-z2-7]{56}:[1-9][0-9]{0,4}$`)

func checkAddress(text string, leastPort uint64) error {
	if leastPort > 0 && onionAddress.MatchString(text) {
		return nil
	}
	parts := strings.Split(strings.TrimSuffix(text, "/quic-v1"), "/")
	quic := strings.HasSuffix(text, "/quic-v1")
	if len(parts) != 5 || parts[0] != "" || parts[3] != "tcp" && parts[3] != "udp" || quic != (parts[3] == "udp") {
		return errors.New("not an address and a port of TCP or QUIC")
	}
	ip, err := netip.ParseAddr(parts[2])
	switch kind := parts[1]; {
	case kind == "ip4" && (err != nil || !ip.Is4()), kind == "ip6" && (err != nil || !ip.Is6() || ip.Zone() != ""):
		return fmt.Errorf("%q is no %s address", parts[2], kind)
	case kind == "ip4", kind == "ip6":
	case (kind == "dns" || kind == "dns4" || kind == "dns6") && parts[2] != "":
	default:
		return fmt.Errorf("%q is no kind of address that can be used", kind)
	}
	if port, err := strconv.ParseUint(parts[4], 10, 16); err != nil || port < leastPort {
		return fmt.Errorf("%q is no port", parts[4])
	}
	return nil
}

// maxNickname is in bytes.
const maxNickname = 64

func checkNickname(name string) error {
	if len(name) > maxNickname || !utf8.ValidString(name) {
		return fmt.Errorf("%w: %d bytes (want at most %d of UTF-8)", errBadName, len(name), maxNickname)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: %q has a character that can't be shown", errBadName, name)
		}
	}
	return nil
}

// webAddress reads web.listen: host:port, a port alone on this machine, or
// none.
func webAddress(text string) (string, error) {
	if text == "" || text == "none" {
		return "", nil
	}
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return net.JoinHostPort("127.0.0.1", text), nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q (want one such as 127.0.0.1:3456, or none)", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" {
		return "", fmt.Errorf("%q (want an address of this machine and a port, such as 127.0.0.1:3456)", text)
	}
	return text, nil
}

// hasFile reports whether a file is there.
func hasFile(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
