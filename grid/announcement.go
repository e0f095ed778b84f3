package grid

// Announcement is what a storage server, or a relay, says of itself to the whole grid. It
// travels signed (transport/wire) and is kept by introducers and clients.
type Announcement struct {
	Server ServerID
	// Sequence grows with each announcement of the server; a lower one never
	// replaces a higher one.
	Sequence uint64
	// Nickname is what the server calls itself; at most 64 bytes of UTF-8.
	Nickname string
	// Hints are the addresses at which it can be reached.
	Hints []Hint
	// NodeID seeds write enablers.
	NodeID NodeID
	// PermutationSeed orders servers for a storage index; the server key
	// unless shares were imported from elsewhere.
	PermutationSeed []byte
	// Accepts lists the public keys of account managers whose certificates
	// are good here; never those of friends.
	Accepts []PublicKey
	// CertificateVersions that the server can verify.
	CertificateVersions []uint
	// ReadsNeedAccount says that only accounts may read here.
	ReadsNeedAccount bool
	// Relay says that this is no storage server but a relay, on which servers
	// that nobody can dial take slots.
	Relay bool
}
