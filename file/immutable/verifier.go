package immutable

import (
	"fmt"

	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// ShareVerifier takes a share body, first byte to last, in pieces of any
// size, and proves all that a share can prove without its capability: that
// the header, the sizes and the URI extension block agree; that the blocks
// are those of the block tree, and the trees consistent; that the share hash
// chain leads from this block tree, under this share number, to the root in
// the URI extension block; that nothing is missing and nothing added. Whether
// that block is the right one its hash tells, which Finish returns.
//
// Memory is a few kilobytes, whatever the share's size. A lie in the header
// is refused before any data is taken. A ShareVerifier belongs to one
// goroutine.
type ShareVerifier struct {
	num  grid.ShareNum
	size int64
	pos  int64
	err  error // the first thing that was wrong, for good

	head   []byte // until the header is complete
	header Header

	block     *tagged.Hasher // the block that is under way
	blockLeft int64          // bytes until it ends
	blocks    *hashtree.Fold

	node      []byte // the tree node that is under way
	crypttree *hashtree.Scan
	blocktree *hashtree.Scan

	tail []byte // share hashes and URI extension block
}

// NewShareVerifier starts with the share's number and the length of its body
// in bytes.
func NewShareVerifier(num grid.ShareNum, size int64) *ShareVerifier {
	return &ShareVerifier{num: num, size: size, blocks: hashtree.NewFold()}
}

// Write takes the next bytes. Once it has returned an error (an ErrShare), it
// returns that one again.
func (v *ShareVerifier) Write(p []byte) (int, error) {
	taken := 0
	for len(p) > 0 && v.err == nil {
		var n int
		n, v.err = v.take(p)
		if v.err != nil {
			v.err = fmt.Errorf("%w: %w", ErrShare, v.err)
		}
		taken, p = taken+n, p[n:]
		v.pos += int64(n)
	}
	return taken, v.err
}

// take uses bytes from the start of p, as far as the section reaches that v
// is in.
func (v *ShareVerifier) take(p []byte) (int, error) {
	if v.pos >= v.size {
		return 0, fmt.Errorf("longer than the %d bytes that were announced", v.size)
	}
	if v.crypttree == nil {
		return v.takeHeader(p)
	}
	for _, s := range []struct {
		end  int64
		take func([]byte) error
	}{
		{v.header.PlaintextTree, v.takeData},
		{v.header.CrypttextTree, v.takeZeros},
		{v.header.BlockTree, func(p []byte) error { return v.takeNodes(v.crypttree, p) }},
		{v.header.ShareHashes, func(p []byte) error { return v.takeNodes(v.blocktree, p) }},
		{v.size, v.takeTail},
	} {
		if v.pos < s.end {
			p = p[:min(int64(len(p)), s.end-v.pos)]
			return len(p), s.take(p)
		}
	}
	return 0, nil
}

func (v *ShareVerifier) takeHeader(p []byte) (int, error) {
	want := int64(4)
	if len(v.head) >= 4 {
		version, err := parseVersion(v.head)
		if err != nil {
			return 0, err
		}
		want = headerSize(version)
	}
	p = p[:min(int64(len(p)), want-int64(len(v.head)))]
	v.head = append(v.head, p...)
	if want == 4 || int64(len(v.head)) < want {
		return len(p), nil
	}
	return len(p), v.begin()
}

// begin checks what the header alone can prove.
func (v *ShareVerifier) begin() (err error) {
	if v.header, err = ParseHeader(v.head); err != nil {
		return err
	}
	h := v.header
	if h.BlockSize < 1 || h.DataSize < 1 || h.BlockSize > h.DataSize {
		return fmt.Errorf("%w: blocks of %d bytes in %d bytes of data", ErrHeader, h.BlockSize, h.DataSize)
	}
	n := ceilDiv(h.DataSize, h.BlockSize)
	if n > hashtree.MaxLeaves {
		return fmt.Errorf("%w: %d blocks", ErrHeader, n)
	}
	if err := v.checkSections(hashtree.Size(n)); err != nil {
		return err
	}
	v.crypttree, v.blocktree = hashtree.NewScan(n), hashtree.NewScan(n)
	return nil
}

func (v *ShareVerifier) checkSections(tree int64) error {
	h := v.header
	for _, s := range []struct {
		name              string
		first, next, want int64
	}{
		{"header", 0, h.Data, h.Size()},
		{"data", h.Data, h.PlaintextTree, h.DataSize},
		{"plaintext hash tree", h.PlaintextTree, h.CrypttextTree, tree},
		{"crypttext hash tree", h.CrypttextTree, h.BlockTree, tree},
		{"block hash tree", h.BlockTree, h.ShareHashes, tree},
	} {
		if s.next-s.first != s.want {
			return fmt.Errorf("%w: the %s has %d bytes (want %d)", ErrHeader, s.name, s.next-s.first, s.want)
		}
	}
	if chain := h.UEB - h.ShareHashes; chain > maxChain || chain%hashtree.ChainEntry != 0 {
		return fmt.Errorf("%w: the share hash chain has %d bytes", ErrHeader, chain)
	}
	length := uebLengthSize(h.Version)
	if ueb := v.size - h.UEB; ueb < length || ueb >= length+maxUEB {
		return fmt.Errorf("%w: the URI extension block has %d bytes", ErrHeader, ueb)
	}
	return nil
}

func (v *ShareVerifier) takeData(p []byte) error {
	left := v.header.PlaintextTree - v.pos
	for len(p) > 0 {
		if v.blockLeft == 0 {
			v.block = tagged.New(tagged.Block)
			v.blockLeft = min(v.header.BlockSize, left)
		}
		n := min(int64(len(p)), v.blockLeft)
		v.block.Write(p[:n])
		v.blockLeft -= n
		left -= n
		p = p[n:]
		if v.blockLeft == 0 {
			v.blocks.Add(v.block.Sum())
		}
	}
	return nil
}

func (v *ShareVerifier) takeZeros(p []byte) error {
	for _, b := range p {
		if b != 0 {
			return fmt.Errorf("the unused plaintext hash tree is not zero")
		}
	}
	return nil
}

func (v *ShareVerifier) takeNodes(tree *hashtree.Scan, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), tagged.Size-len(v.node))
		v.node, p = append(v.node, p[:n]...), p[n:]
		if len(v.node) == tagged.Size {
			tree.Add(tagged.Hash(v.node))
			v.node = v.node[:0]
		}
	}
	return nil
}

func (v *ShareVerifier) takeTail(p []byte) error {
	v.tail = append(v.tail, p...)
	return nil
}

// Finish tells whether the share is good: its URI extension block and the
// hash that a capability has of it, or an ErrShare.
func (v *ShareVerifier) Finish() (tagged.Hash, UEB, error) {
	if v.err == nil && v.pos < v.size {
		v.err = fmt.Errorf("%w: ends after %d of %d bytes", ErrShare, v.pos, v.size)
	}
	if v.err != nil {
		return tagged.Hash{}, UEB{}, v.err
	}
	hash, ueb, err := v.finish()
	if err != nil {
		v.err = fmt.Errorf("%w: %w", ErrShare, err)
		return tagged.Hash{}, UEB{}, v.err
	}
	return hash, ueb, nil
}

func (v *ShareVerifier) finish() (tagged.Hash, UEB, error) {
	if v.crypttree == nil {
		return tagged.Hash{}, UEB{}, fmt.Errorf("%w: %d bytes", ErrHeader, v.size)
	}
	chain, block, err := v.cutTail()
	if err != nil {
		return tagged.Hash{}, UEB{}, err
	}
	ueb, err := ParseUEB(block)
	if err != nil {
		return tagged.Hash{}, UEB{}, err
	}
	if err := v.checkLayout(ueb); err != nil {
		return tagged.Hash{}, UEB{}, err
	}
	if err := v.checkTrees(ueb, chain); err != nil {
		return tagged.Hash{}, UEB{}, err
	}
	return HashUEB(block), ueb, nil
}

func (v *ShareVerifier) cutTail() (chain map[int64]tagged.Hash, ueb []byte, err error) {
	split := v.header.UEB - v.header.ShareHashes
	if chain, err = parseChain(v.tail[:split]); err != nil {
		return nil, nil, err
	}
	rest := v.tail[split:]
	size := uebLengthSize(v.header.Version)
	ueb = rest[size:]
	if n := number(rest[:size]); n != uint64(len(ueb)) {
		return nil, nil, fmt.Errorf("%w: its length says %d bytes and there are %d", ErrUEB, n, len(ueb))
	}
	return chain, ueb, nil
}

// checkLayout compares the header with what the URI extension block demands.
func (v *ShareVerifier) checkLayout(ueb UEB) error {
	l, err := ueb.Layout()
	if err != nil {
		return err
	}
	l.place(v.header.Version)
	if want := l.Header(); v.header != want {
		return fmt.Errorf("%w: it does not fit the URI extension block (%+v, want %+v)", ErrHeader, v.header, want)
	}
	if int(v.num) >= l.Total {
		return fmt.Errorf("share number %d of %d", v.num, l.Total)
	}
	return nil
}

func (v *ShareVerifier) checkTrees(ueb UEB, chain map[int64]tagged.Hash) error {
	written, computed := v.blocktree.Finish()
	if blocks := v.blocks.Finish(); !written.Equal(blocks) {
		if computed.Equal(blocks) {
			return fmt.Errorf("the block hash tree is inconsistent")
		}
		return fmt.Errorf("the blocks are not those of the block hash tree")
	}
	crypt, computed := v.crypttree.Finish()
	if !crypt.Equal(computed) {
		return fmt.Errorf("the crypttext hash tree is inconsistent")
	}
	if crypt.Root != ueb.CrypttextRoot {
		return fmt.Errorf("the crypttext hash tree is not that of the URI extension block")
	}
	return checkChain(ueb, v.num, chain, written.Root)
}

// checkChain proves that root is leaf num of the tree over all shares. The
// chain has room for the nodes that are needed for that and no others, as
// checkLayout saw.
func checkChain(ueb UEB, num grid.ShareNum, chain map[int64]tagged.Hash, root tagged.Hash) error {
	for _, i := range hashtree.Path(ueb.Total, int64(num)) {
		if _, ok := chain[i]; !ok {
			return fmt.Errorf("node %d is missing in the share hash chain", i)
		}
	}
	tree := hashtree.NewPartial(ueb.Total, ueb.ShareRoot)
	if err := tree.Add(chain); err != nil {
		return fmt.Errorf("the share hash chain does not lead to the root: %w", err)
	}
	if leaf, ok := tree.Leaf(int64(num)); !ok || leaf != root {
		return fmt.Errorf("the block hash tree is not that of share %d", num)
	}
	return nil
}
