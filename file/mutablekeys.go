package file

import (
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// WriteKey is the secret of a mutable file's write capability, 16 bytes: it
// encrypts the private key that signs the file, which lies in the shares. The
// derivations are those of allmydata/util/hashutil.py of Tahoe-LAFS 1.20.
type WriteKey [16]byte

// ReadKey derives the key that can only read.
func (k WriteKey) ReadKey() ReadKey {
	h := tagged.Sum(tagged.WriteKeyToReadKey, k[:])
	return ReadKey(h[:len(ReadKey{})])
}

// WriteEnabler derives what a server wants to see before it changes a share,
// 32 bytes. It is another one at each server, so that none can write at
// another one.
func (k WriteKey) WriteEnabler(server grid.NodeID) tagged.Hash {
	master := tagged.Sum(tagged.WriteKeyToEnablerMaster, k[:])
	return tagged.Pair(tagged.EnablerMasterToEnabler, master[:], server[:])
}

// ReadKey is the secret of a mutable file's read capability, 16 bytes.
type ReadKey [16]byte

// StorageIndex derives the name of the file's shares.
func (k ReadKey) StorageIndex() grid.StorageIndex {
	h := tagged.Sum(tagged.ReadKeyToStorageIndex, k[:])
	return grid.StorageIndex(h[:16])
}

// DataKey derives the AES key of what was encrypted under a salt. Salts are
// drawn anew for each version, of each segment in MDMF.
func (k ReadKey) DataKey(salt [16]byte) Key {
	h := tagged.Pair(tagged.ReadKeyToDataKey, salt[:], k[:])
	return Key(h[:len(Key{})])
}
