package tarn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ownPetname is the account of the node's own client on its own server.
const ownPetname = "self"

// addSelf lets a node's own client store on its server, the first time that the
// two run together. What the operator decides about that account later, lasts:
// one that was removed or given another key is not added again.
func (n *Node) addSelf(ctx context.Context) error {
	id := grid.ServerID(grid.PublicKeyOf(n.config.Storage.Key))
	own := lease.Root{Key: n.config.Client.Account.PublicKey(id), Petname: ownPetname}
	added, err := n.folder.selfAdded(own.Key)
	if err != nil || added {
		return err
	}
	_, err = ask[server.Changed](ctx, n, actors.ToStorage{Message: server.PutRoot{Root: own, New: true}})
	if err != nil && !errors.Is(err, server.ErrExists) && !errors.Is(err, lease.ErrKeyRevoked) {
		return n.cause(err)
	}
	return n.folder.noteSelf(own.Key)
}

// selfAdded reports whether this key was added to the node's own server once.
func (f nodeFolder) selfAdded(own grid.PublicKey) (bool, error) {
	text, err := os.ReadFile(f.private("self"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read which account is this node's own: %w", err)
	}
	noted, err := grid.ParsePublicKey(strings.TrimSpace(string(text)))
	if err != nil {
		return false, fmt.Errorf("%s %w (delete it: this node's own client gets an account on its server again)", f.private("self"), ErrDamaged)
	}
	return noted == own, nil
}

func (f nodeFolder) noteSelf(own grid.PublicKey) error {
	if err := writeFile(f.private("self"), []byte(own.String()+"\n")); err != nil {
		return fmt.Errorf("note which account is this node's own: %w", err)
	}
	return nil
}
