// Package store keeps a storage server's lease table and share bytes, and a
// client's [Journal] of its own leases; it is the only importer of Pebble. It
// decides nothing: package lease's Ledger does, through the lease.View that a
// Store is, and the lease.Change that Apply writes.
//
// A Store comes from Open (a folder) or NewMemory (the same code without disk
// and goroutines, for simulations). The folder holds
//
//	lock               held by the process that works here
//	table/             Pebble
//	ballast            room that the table takes when the disk is full
//	incoming/<n>       bodies of shares on their way; wiped by Open
//	shares/<2>/<SI>/<num>   bodies of large shares; <2> is how the SI begins
//
// # Promises
//
//   - A Change is applied whole or not at all, is seen by every read after
//     Apply, and is durable when Commit.Wait has returned nil. Changes become
//     durable in the order in which they were applied.
//   - A share that can be changed is written as a whole, however little of it
//     changes: after a crash it is what it was before, or what it was to be, and
//     so are all shares of one Change. Who opened it before goes on to read the old
//     one.
//   - A share that was never STABLE leaves no trace after Open, whatever
//     happened: its bytes lie in incoming/ until the Change that makes it STABLE
//     is durable. That Change also records where they are, so that Open can
//     finish the move; nothing needs to search the shares.
//   - After the first failed write nothing is acknowledged any more: Failed is
//     closed, and Apply and Wait return ErrFailed. The owner ends the process.
//
// # Key schema, format 3
//
// Keys start with a byte that says what they are; numbers in keys are big
// endian. Keys of accounts are interned: a lease names its column by a 4-byte
// id, sequential from 16; 1 is starter, 2 is anonymous. Values start with a
// version byte; numbers in values are varints, u unsigned, s zigzag.
//
//	M "format"                     -> u format of the whole table
//	M "adopting"                   -> (empty) files in shares/ may be unknown to the table; format 2
//	M "collector"                  -> where the scan for expired leases goes on (no version byte)
//	M "last-id-" seq1              -> u newest id given (1 keys, 2 chains)
//	K key32                        -> u id, u uses
//	k id4                          -> key32 (no version byte)
//	C 1 id4                        -> u bytes, u leases: of a column
//	C 2 id4                        -> the same, of a root
//	C 3 signer4 delegate4          -> the same, of a pair
//	R key32                        -> bits, [s quota] [u operation] [s until], petname
//	V key32                        -> (empty) a revoked key
//	X key32                        -> (empty) a root that is gone, its leases are being cancelled; format 2
//	H chain4                       -> u column, digest32, keys and pairs as u ids
//	E chain4                       -> the chain as a login showed it, in lease's encoding (no version byte); format 2
//	D column4 root4 digest32       -> u chain
//	h chain4                       -> u leases under the chain
//	L column4 SI16 num1            -> s expires, s expires-renewed, s renewed-made, u size, u chain
//	S SI16 num1                    -> state, u size, u file, u leases, UEB hash 32; of a share that
//	                                  can be changed: state + 128, ..., write enabler 32, u writes; format 3
//	S SI16 num1 column4            -> (empty) this column has a lease on it
//	B SI16 num1                    -> the share's body, if file is 0 (no version byte)
//	G SI16 num1                    -> u file: bytes to be deleted
//	P SI16 num1 file8              -> (empty) the body is still incoming/<file>
//	T column4 day4                 -> u in, u out
//	t 2 root4 day4                 -> the same, of all below a root; format 2
//	t 3 signer4 delegate4 day4     -> the same, of all below a pair; format 2
//
// A newer format than this is refused, an older one is brought up to date by
// the steps in upgrade.go.
package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/lease"
)

// Errors that callers act on.
var (
	// ErrLocked is a folder that another process works on.
	ErrLocked = errors.New("in use by another tarn process")
	// ErrNewer is a table, or a record, written by a newer version of Tarn.
	ErrNewer = errors.New("written by a newer version of tarn")
	// ErrDamaged is a table that can't be read.
	ErrDamaged = errors.New("the table is damaged")
	// ErrFailed is a disk that refused a write: nothing counts any more.
	ErrFailed = errors.New("the table can't be written")
)

// Growth is how much of the disk, in bytes, the table may take beyond what is in
// it: for its log, and while it is put in order.
const Growth = 16 << 20

// Options are for tests; the zero value is for a server.
type Options struct {
	FS vfs.FS // nil is the operating system's
}

// Store is a lease table and its share bytes. Reads and the methods on files
// are safe from any goroutine; Apply is for the table's one owner.
type Store struct {
	fs   vfs.FS
	dir  string
	eng  engine
	lock io.Closer

	closed  atomic.Bool
	scanned atomic.Int64 // records that scans have seen
	ballast *ballast
	ids     idCache
	hot     hotCache
	lists   shareLists
	files   files
}

// Open opens or creates the store in a folder, whose parent must exist. It
// finishes what a crash interrupted and wipes incoming/. Errors: ErrLocked,
// ErrNewer, ErrDamaged, and those of the filesystem.
func Open(dir string, opts Options) (*Store, error) {
	fs := opts.FS
	if fs == nil {
		fs = vfs.Default
	}
	s := &Store{fs: fs, dir: dir, ids: newIDCache(), hot: newHotCache(), lists: newShareLists()}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open the lease table in %s: %w", dir, errors.Join(err, s.unlock()))
	}
	if err := s.start(); err != nil {
		return nil, fmt.Errorf("open the lease table in %s: %w", dir, errors.Join(err, s.Close()))
	}
	return s, nil
}

// NewMemory is a store without a disk.
func NewMemory() *Store {
	s, err := openMemory(newMemory(), vfs.NewCrashableMem())
	if err != nil {
		panic("open a store in memory: " + err.Error()) // nothing in it can fail
	}
	return s
}

func openMemory(m *memory, fs vfs.FS) (*Store, error) {
	s := &Store{fs: fs, dir: "/", eng: m, ballast: &ballast{}, ids: newIDCache(), hot: newHotCache(), lists: newShareLists()}
	return s, s.start()
}

// AfterCrash is what a restart finds after a power cut now: what was waited
// for and nothing else. It is for stores of NewMemory; s is of no more use.
func (s *Store) AfterCrash() (*Store, error) {
	m, ok := s.eng.(*memory)
	fs, crashable := s.fs.(*vfs.MemFS)
	if !ok || !crashable {
		return nil, errors.New("only a store in memory can play a crash")
	}
	return openMemory(m.crashed(), fs.CrashClone(vfs.CrashCloneCfg{}))
}

func (s *Store) open() error {
	if err := s.makeDirs(s.dir); err != nil {
		return err
	}
	lock, err := s.fs.Lock(s.fs.PathJoin(s.dir, "lock"))
	if err != nil {
		return lockError(err)
	}
	s.lock = lock
	table := s.fs.PathJoin(s.dir, "table")
	if err := s.makeDirs(table); err != nil {
		return err
	}
	if s.ballast, err = newBallast(s.fs, s.dir); err != nil {
		return fmt.Errorf("ask for free disk space: %w", err)
	}
	eng, err := openDisk(s.tableFS(), table)
	if err != nil {
		return err
	}
	s.eng = eng
	return nil
}

// tableFS is the filesystem for the table: one that is full makes room once.
func (s *Store) tableFS() vfs.FS {
	if s.ballast.size == 0 {
		return s.fs
	}
	return vfs.OnDiskFull(s.fs, s.ballast.release)
}

// lockError tells a held lock from a folder that can't be written.
func lockError(err error) error {
	held := errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "held by current process") ||
		(errors.Is(err, syscall.EACCES) && !isPathError(err))
	if held {
		return ErrLocked
	}
	return fmt.Errorf("lock the folder: %w", err)
}

func isPathError(err error) bool {
	var p *os.PathError
	return errors.As(err, &p)
}

// start brings an open table up to date with the code and with the files.
func (s *Store) start() error {
	if err := s.upgrade(steps); err != nil {
		return err
	}
	return s.startFiles()
}

// Close ends the use of the folder, when nothing else uses the Store any more;
// a second time does nothing. After ErrFailed it only lets go of the lock.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.eng.close(), s.unlock())
}

func (s *Store) unlock() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Failed is closed when the table can't be written any more, whoever noticed.
// It is nil for a store in memory, which does not fail.
func (s *Store) Failed() <-chan struct{} {
	if d, ok := s.eng.(*disk); ok {
		return d.gone
	}
	return nil
}

// Free is how many bytes the filesystem has left for shares and new leases, or
// lease.NoLimit where it can't say: none after the table found it full, until
// there is room again for what the table then used.
func (s *Store) Free() (int64, error) {
	usage, err := s.fs.GetDiskUsage(s.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return lease.NoLimit, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for free disk space: %w", err)
	}
	return s.ballast.left(int64(min(usage.AvailBytes, lease.NoLimit))), nil
}

// Scanned is how many records all scans together have seen: a counter that
// stands still shows that an answer came from gets alone.
func (s *Store) Scanned() int64 { return s.scanned.Load() }

// scan yields the records in [lower, upper) and counts them.
func (s *Store) scan(lower, upper []byte, yield func(key, value []byte) error) error {
	return s.eng.scan(lower, upper, func(key, value []byte) error {
		s.scanned.Add(1)
		return yield(key, value)
	})
}
