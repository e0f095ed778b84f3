package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Names of files in private/.
const (
	serverKeyFile     = "node.privkey"
	introducerKeyFile = "introducer.privkey"
	managerKeyFile    = "manager.privkey"
	helperKeyFile     = "helper.privkey"
	relayKeyFile      = "relay.privkey"
	onionKeyFile      = "onion.privkey"
	torPasswordFile   = "tor.password"
	controlKeyFile    = "control.privkey"
	sftpKeyFile       = "sftp.privkey"
	aggregatorFile    = "aggregator.authority"
	membersFile       = "members.json"
	accountFile       = "account"
	convergenceFile   = "convergence"
)

// Convergence secrets are 32 bytes here; Tahoe's and older ones may be as
// short as 16.
const (
	newConvergenceSize = 32
	minConvergenceSize = 16
	maxConvergenceSize = 64
)

// privateKeyPrefix and 52 characters are a private key as in Tahoe's
// node.privkey.
const privateKeyPrefix = "priv-v0-"

func newKey() ed25519.PrivateKey {
	var seed [ed25519.SeedSize]byte
	_, _ = rand.Read(seed[:]) // never fails, see crypto/rand
	return ed25519.NewKeyFromSeed(seed[:])
}

func keyText(key ed25519.PrivateKey) string {
	return privateKeyPrefix + grid.EncodeBase32(key.Seed())
}

func parseKey(text string) (ed25519.PrivateKey, error) {
	encoded, ok := strings.CutPrefix(text, privateKeyPrefix)
	if !ok {
		return nil, fmt.Errorf("it should begin with %s", privateKeyPrefix)
	}
	seed, err := grid.DecodeBase32(encoded, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// onionKey is the key of a role's onion service, nil if it has none. The storage
// server's is in onion.privkey, another role's has its name before that.
func (f folder) onionKey(prefix string, listen []string) (ed25519.PrivateKey, error) {
	for _, address := range listen {
		if _, ok := tarn.OnionPort(address); ok {
			return f.ownKey(prefix + onionKeyFile)
		}
	}
	return nil, nil
}

// parseConvergence reads base32 of 16 to 64 bytes.
func parseConvergence(text string) ([]byte, error) {
	size := len(text) * 5 / 8
	if size < minConvergenceSize || size > maxConvergenceSize {
		return nil, fmt.Errorf("%w: %d characters are a secret of %d bytes (want %d to %d)", grid.ErrBase32, len(text), size, minConvergenceSize, maxConvergenceSize)
	}
	return grid.DecodeBase32(text, size)
}

// clientRoles are what a client may do for others, by a key of its own for each.
var clientRoles = []string{renewerRole, repairerRole}

const (
	renewerRole  = "renewer"
	repairerRole = "repairer"
)

func roleKeyFile(role string) string { return role + ".privkey" }

// readRoles reads the keys of roles; a client that was made before there were
// any may have none.
func readRoles(f folder) (map[string]lease.Account, error) {
	roles := map[string]lease.Account{}
	for _, role := range clientRoles {
		if !hasFile(f.private(roleKeyFile(role))) {
			continue
		}
		key, err := readSecret(f, roleKeyFile(role), parseKey)
		if err != nil {
			return nil, err
		}
		roles[role] = lease.OneKeyAccount([lease.SeedSize]byte(key.Seed()))
	}
	return roles, nil
}

// newClientSecrets are the files of a client that was made just now.
func newClientSecrets() (map[string]string, error) {
	account, err := lease.NewAccount(rand.Reader)
	if err != nil {
		return nil, err
	}
	convergence := make([]byte, newConvergenceSize)
	_, _ = rand.Read(convergence) // never fails, see crypto/rand
	secrets := map[string]string{accountFile: account.Text(), convergenceFile: grid.EncodeBase32(convergence)}
	for _, role := range clientRoles {
		secrets[roleKeyFile(role)] = keyText(newKey())
	}
	return secrets, nil
}

// readSecret reads a file of private/ with parse. Errors name the file and
// never its content.
func readSecret[T any](f folder, name string, parse func(string) (T, error)) (T, error) {
	var none T
	content, err := os.ReadFile(f.private(name))
	if err != nil {
		return none, fmt.Errorf("%w: %w", errKeys, err)
	}
	value, err := parse(string(bytes.TrimSpace(content)))
	if err != nil {
		return none, fmt.Errorf("%s: %w: %w", f.private(name), errKeys, err)
	}
	return value, nil
}
