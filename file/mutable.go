package file

import (
	"fmt"
	"strings"

	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// Mutable is a capability of a mutable file, of the SSK or the MDMF family:
// URI:<kind>:<secret, 26>:<fingerprint, 52>.
type Mutable struct {
	kind        Kind
	Secret      [16]byte    // write key, read key or storage index, as the kind says
	Fingerprint tagged.Hash // of the public key
}

// String is the capability's text.
func (m Mutable) String() string {
	return fmt.Sprintf("%s%s:%s:%s", uriPrefix, m.kind, grid.EncodeBase32(m.Secret[:]), m.Fingerprint)
}

// Kind is one of the three SSK or the three MDMF kinds.
func (m Mutable) Kind() Kind { return m.kind }

// Writable tells the write capabilities from the others.
func (m Mutable) Writable() bool { return m.kind == KindSSK || m.kind == KindMDMF }

// Immutable is false.
func (Mutable) Immutable() bool { return false }

// Directory is the capability of the directory that this file holds.
func (m Mutable) Directory() Directory { return Directory{m} }

// MDMF tells the MDMF kinds from those of SSK, which SDMF files have.
func (m Mutable) MDMF() bool { return strings.HasPrefix(string(m.kind), string(KindMDMF)) }

// NewMutable returns the write capability of an MDMF file, or an SDMF one.
func NewMutable(mdmf bool, key WriteKey, fingerprint tagged.Hash) Mutable {
	return Mutable{pick(mdmf, KindMDMF, KindSSK), key, fingerprint}
}

func pick(mdmf bool, yes, no Kind) Kind {
	if mdmf {
		return yes
	}
	return no
}

// WriteKey is what a write capability has; false for the others.
func (m Mutable) WriteKey() (WriteKey, bool) { return m.Secret, m.Writable() }

// ReadKey is what write and read capabilities have or derive; false for
// verifiers.
func (m Mutable) ReadKey() (ReadKey, bool) {
	switch m.kind {
	case KindSSK, KindMDMF:
		return WriteKey(m.Secret).ReadKey(), true
	case KindSSKRO, KindMDMFRO:
		return m.Secret, true
	default:
		return ReadKey{}, false
	}
}

// StorageIndex names the file's shares. Every kind knows it.
func (m Mutable) StorageIndex() grid.StorageIndex {
	if key, ok := m.ReadKey(); ok {
		return key.StorageIndex()
	}
	return m.Secret
}

// ReadOnly returns the capability that can read but not write; one that
// cannot write is returned as it is.
func (m Mutable) ReadOnly() Mutable {
	key, ok := m.WriteKey()
	if !ok {
		return m
	}
	return Mutable{pick(m.MDMF(), KindMDMFRO, KindSSKRO), key.ReadKey(), m.Fingerprint}
}

// Verifier returns the capability that can check shares but not read them.
func (m Mutable) Verifier() Mutable {
	return Mutable{pick(m.MDMF(), KindMDMFVerifier, KindSSKVerifier), m.StorageIndex(), m.Fingerprint}
}

// parseMutable drops the hints that old versions appended to MDMF
// capabilities: they were never needed.
func parseMutable(kind Kind, fields string) (Capability, error) {
	parts := strings.Split(fields, ":")
	hints := strings.HasPrefix(string(kind), string(KindMDMF))
	if len(parts) < 2 || len(parts) > 2 && !hints {
		return nil, fmt.Errorf("%w: %s has %d fields (want 2)", ErrMalformed, kind, len(parts))
	}
	secret, fingerprint, err := cutSecretAndHash(kind, parts[0], parts[1])
	if err != nil {
		return nil, err
	}
	return Mutable{kind, secret, fingerprint}, nil
}

// Directory is a capability of a directory: that of the file it is stored in,
// marked as a directory.
type Directory struct{ File Capability }

// DirectoryKind is the kind of a directory that is stored in a file of the
// given kind; "" if there is no such directory.
func DirectoryKind(file Kind) Kind {
	for dir, inner := range directoryInner {
		if inner == file {
			return dir
		}
	}
	return ""
}

var directoryInner = map[Kind]Kind{
	"DIR2":               KindSSK,
	"DIR2-RO":            KindSSKRO,
	"DIR2-Verifier":      KindSSKVerifier,
	"DIR2-MDMF":          KindMDMF,
	"DIR2-MDMF-RO":       KindMDMFRO,
	"DIR2-MDMF-Verifier": KindMDMFVerifier,
	"DIR2-CHK":           KindCHK,
	"DIR2-CHK-Verifier":  KindCHKVerifier,
	"DIR2-LIT":           KindLIT,
}

// String is the capability's text.
func (d Directory) String() string {
	_, fields, _ := cutKind(d.File.String())
	return uriPrefix + string(d.Kind()) + ":" + fields
}

// Kind is DIR2, DIR2-RO and so on.
func (d Directory) Kind() Kind { return DirectoryKind(d.File.Kind()) }

// Writable is that of the file.
func (d Directory) Writable() bool { return d.File.Writable() }

// Immutable is that of the file.
func (d Directory) Immutable() bool { return d.File.Immutable() }
