package wire

// Every bound on what crosses the network, in bytes unless said otherwise.
// What goes beyond is refused by the receiver before it allocates anything,
// and by the sender's own encoder.
const (
	// MaxHead is the longest head of a frame.
	MaxHead = 64 << 10
	// MaxBody is the longest body that a frame can have. What a side takes is
	// less, see transport.MaxBody.
	MaxBody = 4 << 20
	// MaxRequestBody is the longest body that an accepted session takes once it
	// was admitted: as much of a share as rides along with its offer, or as one
	// ReadOffer is answered by.
	MaxRequestBody = 256 << 10
	// MaxEarlyBody is the longest body that an accepted session takes before
	// Admit.
	MaxEarlyBody = 64 << 10
	// MaxShareSize is the largest share body: an exabyte, so that sums of
	// sizes cannot overflow.
	MaxShareSize = 1 << 60

	// MaxFeatures is how many features a Hello may name, MaxFeature how long
	// each name is.
	MaxFeatures = 32
	MaxFeature  = 64
	// MaxChain bounds a Login's certificate chain, MaxLoginRequest the signed
	// request, MaxReference a reference.
	MaxChain        = 8 << 10
	MaxLoginRequest = 4 << 10
	MaxReference    = 4 << 10
	// MaxRanges is how many ranges one Find or Read names, MaxRead what their
	// lengths may be together, as that of one ReadOffer. An answer is never cut
	// for its size: it is shorter than asked only where the share ends.
	MaxRanges = 64
	MaxRead   = 1 << 20
	// MaxFoundShares is how many shares one Found tells of, MaxFoundLengths
	// how many ranges of bytes it carries for all of them together.
	MaxFoundShares  = 256
	MaxFoundLengths = 2048
	// MaxStorageIndexes is how many files one RenewLease names.
	MaxStorageIndexes = 1000
	// MaxShares is how many shares one RenewShares or CancelShares names in its
	// body, MaxEnumerated how many leases one Enumerated tells of in its own.
	MaxShares     = 8192
	MaxEnumerated = 4096
	// MaxBelow is how many keys one page of usage tells of, MaxUsagePage bounds
	// its bytes, MaxUsage each number in it.
	MaxBelow     = 512
	MaxUsagePage = 48 << 10
	MaxUsage     = 1 << 62
	// MaxOthers is how many servers one Allocate names to which its share may be
	// passed on.
	MaxOthers = 4
	// MaxMutateShares is how many shares one Mutate names, MaxTests how many tests
	// of each, MaxMutateVectors how many tests and writes of all together, MaxTest
	// how long a test is.
	MaxMutateShares  = 256
	MaxTests         = 30
	MaxMutateVectors = 1024
	MaxTest          = 64 << 10
	// MaxText bounds a sentence for people, MaxLimitName the name of a
	// restriction.
	MaxText      = 1 << 10
	MaxLimitName = 64

	// MaxAnnouncement bounds a signed announcement; the rest bounds what is
	// in it. Lengths of texts are bytes of UTF-8.
	MaxAnnouncement        = 8 << 10
	MaxNickname            = 64
	MaxHints               = 16
	MaxHint                = 256
	MaxAccepts             = 32
	MaxCertificateVersions = 16
	MaxPermutationSeed     = 64

	// MaxGridList bounds the list of keys of an Enrol and the list of servers of
	// a ServerList, MaxMemberName the name in an Enrolled.
	MaxGridList   = 48 << 10
	MaxMemberName = 64

	// MaxHelpChains is how many chains an AskHelp carries, MaxHelpChainBytes
	// how long they are together, MaxHelpData the longest part of a ciphertext.
	MaxHelpChains     = 256
	MaxHelpChainBytes = 48 << 10
	MaxHelpData       = MaxRequestBody
)
