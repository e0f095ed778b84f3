package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
)

// Defaults of what create-… writes. The ports follow Tahoe's 3456 for the
// gateway; everything listens on this machine only until told otherwise.
const (
	defaultWebPort          = "3456"
	defaultServerListen     = "/ip4/127.0.0.1/tcp/3457"
	defaultIntroducerListen = "/ip4/127.0.0.1/tcp/3458"
	defaultManagerListen    = "/ip4/127.0.0.1/tcp/3459"
	defaultHelperListen     = "/ip4/127.0.0.1/tcp/3460"
	defaultRelayListen      = "/ip4/127.0.0.1/tcp/3461"
	defaultRelayData        = "16GB"
	defaultHelperSpace      = "10GB"
	defaultReservedSpace    = "1GB"
	defaultInterval         = "1h"
	defaultCaps             = 100
	defaultFiles            = 1000
	defaultEvery            = "1d"
	defaultVerifyEvery      = "30d"
)

// gridFlags are those of all nodes that are told of introducers.
type gridFlags struct {
	introducers []string
	nickname    string
}

func (o *gridFlags) register(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.introducers, "introducer", nil, "reference of an introducer; may be given several times")
	c.Flags().StringVar(&o.nickname, "nickname", "", "what the node calls itself, at most 64 bytes")
}

// settings are those that all nodes have.
func (o *gridFlags) settings() (settings, error) {
	if err := checkNickname(o.nickname); err != nil {
		return settings{}, err
	}
	for _, text := range o.introducers {
		if _, err := tarn.ParseIntroducerRef(text); err != nil {
			return settings{}, err
		}
	}
	return settings{Nickname: o.nickname, Introducers: o.introducers}, nil
}

// clientFlags are those of create-client, and of create-node for its client.
type clientFlags struct {
	gridFlags
	webPort              string
	needed, happy, total int
}

func (o *clientFlags) register(c *cobra.Command) {
	o.gridFlags.register(c)
	c.Flags().StringVar(&o.webPort, "web-port", defaultWebPort, "port of the gateway on this machine, host:port, 0 for any free port, or none")
	c.Flags().IntVar(&o.needed, "shares-needed", file.DefaultNeeded, "how many shares give a file back")
	c.Flags().IntVar(&o.happy, "shares-happy", file.DefaultHappy, "on how many servers an upload must arrive")
	c.Flags().IntVar(&o.total, "shares-total", file.DefaultTotal, "how many shares are made of a file")
}

// settings are the sections that all nodes with a client have.
func (o *clientFlags) settings() (settings, error) {
	s, err := o.gridFlags.settings()
	if err != nil {
		return s, err
	}
	convergent := true
	s.Client = &clientSettings{
		SharesNeeded: o.needed, SharesHappy: o.happy, SharesTotal: o.total,
		SegmentSize: exactSize(file.DefaultSegmentSize), Convergent: &convergent,
	}
	if _, err := s.Client.params(); err != nil {
		return s, err
	}
	address, err := webAddress(o.webPort)
	if err != nil {
		return s, usageError{err: fmt.Errorf("--web-port %w", err)}
	}
	if address == "" {
		address = "none"
	}
	s.Web = &webSettings{Listen: address}
	return s, nil
}

// listenFlags are those of the roles that accept connections.
type listenFlags struct{ listen, announce []string }

func (o *listenFlags) register(c *cobra.Command, listen string) {
	c.Flags().StringArrayVar(&o.listen, "listen", []string{listen}, "address to accept connections on; may be given several times")
	c.Flags().StringArrayVar(&o.announce, "announce", nil, "address under which others reach the node, if it is not the one listened on")
}

var wildcard = regexp.MustCompile(`^/(ip4/0\.0\.0\.0|ip6/::)/`)

// check wants an address that others can use, as they are told no other.
func (o *listenFlags) check() error {
	if err := checkListen(o.listen); err != nil {
		return usageError{err: fmt.Errorf("--listen: %w", err)}
	}
	if err := checkAnnounce(o.announce); err != nil {
		return usageError{err: fmt.Errorf("--announce: %w", err)}
	}
	if len(o.announce) > 0 {
		return nil
	}
	for _, address := range o.listen {
		if wildcard.MatchString(address) {
			return usageError{err: fmt.Errorf("--listen %s says on which interfaces, not where others find the node; add --announce /dns/NAME/tcp/PORT", address)}
		}
	}
	return nil
}

// addresses are those to tell others, if they are known before the node runs.
func (o *listenFlags) addresses() ([]string, bool) {
	if len(o.announce) > 0 {
		return o.announce, true
	}
	for _, address := range o.listen {
		_, hidden := tarn.OnionPort(address) // its key is made when the node runs
		if hidden || strings.HasSuffix(address, "/0") || strings.Contains(address, "/udp/0/") {
			return nil, false
		}
	}
	return o.listen, true
}

// write makes the node and says how to go on.
func (f folder) write(e *env, s settings, private map[string]string) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	if _, _, err := parseSettings(text); err != nil {
		return fmt.Errorf("check the settings: %w", err)
	}
	if err := f.create(text, private); err != nil {
		return err
	}
	e.note("Node made in %s. Its settings are in tarn.yaml; start it with: tarn -d %s run", f.dir, f.dir)
	if len(s.Introducers) == 0 && s.Introducer == nil && s.Renewer == nil && s.Repairer == nil {
		e.note("It knows no introducer yet: add one to tarn.yaml before you start it.")
	}
	return nil
}

// writeKeyed makes a node with a role whose public key others want to know, and
// prints that.
func (f folder) writeKeyed(e *env, s settings, keyFile string) error {
	key := newKey()
	if err := f.write(e, s, map[string]string{keyFile: keyText(key)}); err != nil {
		return err
	}
	return e.print("%s\n", grid.PublicKeyOf(key))
}

// writeListening makes a node with a role that others reach by a reference, and
// prints that where it is known before the node runs. It is in path, too.
func (f folder) writeListening(e *env, s settings, on listenFlags, keyFile, path string, reference func(grid.ServerID, []grid.Hint) (string, error)) error {
	key := newKey()
	private := map[string]string{keyFile: keyText(key)}
	addresses, known := on.addresses()
	if !known {
		if err := f.write(e, s, private); err != nil {
			return err
		}
		e.note("Its reference will be in %s once it runs.", path)
		return nil
	}
	ref, err := reference(grid.ServerID(grid.PublicKeyOf(key)), hints(addresses))
	if err != nil {
		return err
	}
	private[filepath.Base(path)] = ref
	if err := f.write(e, s, private); err != nil {
		return err
	}
	return e.print("%s\n", ref)
}

type createClientOptions struct {
	clientFlags
	dir []string
}

func newCreateClient(e *env) *cobra.Command {
	var o createClientOptions
	c := &cobra.Command{
		Use:   "create-client [DIR]",
		Short: "Make a node that stores and reads files",
		Long: `Makes a node in DIR, which must be empty or not exist, that stores files on the
servers of a grid and reads them. Its account's seed is in private/account.`,
		Example: "  tarn create-client --nickname alice ~/tarn-client",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateClient(ctx, e, o)
		}),
	}
	o.register(c)
	return c
}

func runCreateClient(_ context.Context, e *env, o createClientOptions) error {
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	s, err := o.settings()
	if err != nil {
		return err
	}
	secrets, err := newClientSecrets()
	if err != nil {
		return err
	}
	return f.write(e, s, secrets)
}
