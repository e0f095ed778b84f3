package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/control"
)

// Names of files in private/, once the shares of a server of Tahoe-LAFS were
// taken over with its identity. They are announced, and no secrets.
const (
	nodeIDFile = "node-id"
	seedFile   = "permutation-seed"
)

// Names of the same in the folder of a node of Tahoe-LAFS.
const (
	tahoeNodeID = "my_nodeid"
	tahoeSeed   = "permutation-seed"
)

// maxSeed is the longest permutation seed, in bytes. Those of Tahoe-LAFS are a
// node id, or the 52 characters of a key.
const maxSeed = 64

func parseNodeID(text string) (id grid.NodeID, err error) {
	b, err := grid.DecodeBase32(text, len(id))
	copy(id[:], b)
	return id, err
}

func parseSeed(text string) ([]byte, error) {
	size := len(text) * 5 / 8
	if size < 1 || size > maxSeed {
		return nil, fmt.Errorf("%w: %d characters are a seed of %d bytes (want 1 to %d)", grid.ErrBase32, len(text), size, maxSeed)
	}
	return grid.DecodeBase32(text, size)
}

// identityOf reads what was taken over, if anything was.
func (f folder) identityOf(c *tarn.StorageConfig) error {
	if !hasFile(f.private(nodeIDFile)) {
		return nil
	}
	var err1, err2 error
	c.NodeID, err1 = readSecret(f, nodeIDFile, parseNodeID)
	c.PermutationSeed, err2 = readSecret(f, seedFile, parseSeed)
	return errors.Join(err1, err2)
}

// identity is the node id of this node's storage server.
func (e *env) identity() (grid.NodeID, error) {
	f, err := e.folder()
	if err != nil {
		return grid.NodeID{}, err
	}
	if err := f.check(); err != nil {
		return grid.NodeID{}, err
	}
	n, err := f.load(nil)
	switch {
	case err != nil:
		return grid.NodeID{}, err
	case n.config.Storage == nil:
		return grid.NodeID{}, tarn.ErrNoStorage
	case n.config.Storage.NodeID != grid.NodeID{}:
		return n.config.Storage.NodeID, nil
	}
	return grid.ServerID(grid.PublicKeyOf(n.config.Storage.Key)).DefaultNodeID(), nil
}

// takeOver gives this node's server the identity of the one whose shares are in
// a folder, if it is known. Node is this server's, before and after that.
func (e *env) takeOver(ctx context.Context, o shareImportOptions, path string, node *grid.NodeID) error {
	id, seed, known, err := o.identity(path)
	if err != nil || !known || id == *node {
		return err
	}
	client, f, err := e.node()
	if err != nil {
		return err
	}
	defer client.Close()
	running, err := client.Running(ctx)
	if err != nil {
		return err
	}
	if running {
		return fmt.Errorf("%w: with the shares comes the node id %s, which is taken over while the node does not run. End it, import, and start it again; or import with --keep-identity", tarn.ErrFolderInUse, id)
	}
	mutable := false
	err = e.asOperator(ctx, func(operator control.Operator) (err error) {
		mutable, err = operator.HasMutable(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if mutable {
		return fmt.Errorf("%w: this server has shares that can be changed, and they could not be under another node id. Import into a new node, or with --keep-identity", tarn.ErrExists)
	}
	// The node id last: with it alone counts what was taken over.
	if err := f.record(f.private(seedFile), grid.EncodeBase32(seed)); err != nil {
		return err
	}
	if err := f.record(f.private(nodeIDFile), grid.EncodeBase32(id[:])); err != nil {
		return err
	}
	*node = id
	e.note("The node id %s and the permutation seed are taken over.", id)
	return nil
}

// identity is that of the server in the folder: what was said of it, or what its
// node's folder has.
func (o shareImportOptions) identity(path string) (id grid.NodeID, seed []byte, known bool, err error) {
	if o.keepIdentity {
		return id, nil, false, nil
	}
	idText, seedText := o.nodeID, o.seed
	for _, dir := range []string{path, filepath.Dir(path)} {
		if idText == "" && (dir == path || filepath.Base(path) == "storage") {
			idText, err = firstLine(filepath.Join(dir, tahoeNodeID))
			if err == nil && seedText == "" && idText != "" {
				seedText, err = firstLine(filepath.Join(dir, tahoeSeed))
			}
			if err != nil {
				return id, nil, false, err
			}
		}
	}
	if idText == "" {
		return id, nil, false, nil
	}
	if id, err = parseNodeID(idText); err != nil {
		return id, nil, false, fmt.Errorf("node id: %w", err)
	}
	if seedText == "" { // as old as the servers that had no other
		return id, id[:], true, nil
	}
	if seed, err = parseSeed(seedText); err != nil {
		return id, nil, false, fmt.Errorf("permutation seed: %w", err)
	}
	return id, seed, true, nil
}

// firstLine is what a small file has, empty where there is none.
func firstLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(bytes.TrimSpace(b)), err
}
