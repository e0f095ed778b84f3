package erasure_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/erasure"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// data is what the golden values below were made of: byte j of block i is
// 7i + 13j + 1.
func data(k, n, size int) [][]byte {
	blocks := make([][]byte, n)
	for i := range blocks {
		blocks[i] = make([]byte, size)
		for j := 0; i < k && j < size; j++ {
			blocks[i][j] = byte(7*i + 13*j + 1)
		}
	}
	return blocks
}

// Made by zfec 1.6.0: the tagged hash of all n blocks of 100 bytes.
func TestBlocksAreZfecs(t *testing.T) {
	for _, c := range []struct {
		k, n int
		want string
	}{
		{1, 1, "s3tdy4vhx6ewm5htlzvtt5wmt27hmyh5smsrfflztu2bawo4kpuq"},
		{1, 5, "3x4ky5wkfk7wam3jhvodebdyzaand6ps653e2ci4ngesddtjs3ba"},
		{2, 3, "bmohf77wfrsfbrpidfef3r3x7gfzdj6aqqoqzfoiweh5majhbkfa"},
		{3, 3, "qzsnytw2tzrfktqexkdb5it6ogogge4afpzzf2sdxkva6jbnnnda"},
		{3, 10, "zzpr37blmvudtdiehv5l7knv7oyws2fh3zxhbn3p3miidacx6mla"},
		{7, 30, "qvagjqym6xeq4y6ynataou5f4jtegiw43itlea5yb5kh5ym6qs5q"},
		{71, 255, "v4uxjuftcaahggkx3dtdx5r3x3sheeslcfvgaaqr43w5c4x7ewcq"},
		{101, 256, "ykzxnhc6jmqud54kjcdaxvczzi65b2usnm6jm52of5y4zgyw6yaq"},
		{128, 256, "ieefw77wdqlspmalfezzpjb7z2rzzqpahkfko33x56atr3a6wsxq"},
		{255, 256, "3oxx5rmed33qxvy7pcffzvvmma2n27uqmb5v2ieheurpbmtof4gq"},
		{256, 256, "3oxx5rmed33qxvy7pcffzvvmma2n27uqmb5v2ieheurpbmtof4gq"},
	} {
		coder, err := erasure.New(c.k, c.n)
		if err != nil {
			t.Fatal(err)
		}
		blocks := data(c.k, c.n, 100)
		if err := coder.Encode(blocks); err != nil {
			t.Fatal(err)
		}
		if got := tagged.Sum(tagged.Block, bytes.Join(blocks, nil)).String(); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.k, c.n, got, c.want)
		}
	}
}

func TestAnyKBlocksDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 256).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		size := rapid.IntRange(1, 70).Draw(t, "size")
		coder, err := erasure.New(k, n)
		if err != nil {
			t.Fatal(err)
		}
		blocks := data(k, n, size)
		if err := coder.Encode(blocks); err != nil {
			t.Fatal(err)
		}
		given := map[grid.ShareNum][]byte{}
		for _, i := range rapid.Permutation(numbers(n)).Draw(t, "order")[:k] {
			given[grid.ShareNum(i)] = bytes.Clone(blocks[i])
		}
		got := data(0, k, size)
		if err := coder.Decode(got, given); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if !bytes.Equal(got[i], blocks[i]) {
				t.Fatalf("block %d of %d differs", i, k)
			}
		}
		for i, b := range given {
			if !bytes.Equal(b, blocks[i]) {
				t.Fatalf("the given block %d was written to", i)
			}
		}
	})
}

func numbers(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func TestRefusesBadInput(t *testing.T) {
	for _, s := range [][2]int{{0, 1}, {2, 1}, {1, 257}, {-1, 3}, {0, 0}} {
		if _, err := erasure.New(s[0], s[1]); !errors.Is(err, erasure.ErrShape) {
			t.Errorf("%v: %v", s, err)
		}
	}
	coder, err := erasure.New(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	ok := data(2, 3, 4)
	for name, err := range map[string]error{
		"too few to encode":      coder.Encode(ok[:2]),
		"nothing to encode":      coder.Encode(nil),
		"of two lengths":         coder.Encode([][]byte{ok[0], ok[1][:3], ok[2]}),
		"empty":                  coder.Encode([][]byte{{}, {}, {}}),
		"too few to decode":      coder.Decode(ok[:2], map[grid.ShareNum][]byte{2: ok[2]}),
		"no such block":          coder.Decode(ok[:2], map[grid.ShareNum][]byte{2: ok[2], 3: ok[2]}),
		"a short block":          coder.Decode(ok[:2], map[grid.ShareNum][]byte{1: ok[1][:3], 2: ok[2]}),
		"too few buffers":        coder.Decode(ok[:1], map[grid.ShareNum][]byte{1: ok[1], 2: ok[2]}),
		"buffers of two lengths": coder.Decode([][]byte{ok[0], ok[1][:3]}, map[grid.ShareNum][]byte{1: ok[1], 2: ok[2]}),
	} {
		if !errors.Is(err, erasure.ErrBlocks) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, s := range [][2]int{{3, 10}, {71, 255}} {
		b.Run(fmt.Sprintf("%dof%d", s[0], s[1]), func(b *testing.B) {
			coder, err := erasure.New(s[0], s[1])
			if err != nil {
				b.Fatal(err)
			}
			blocks := data(s[0], s[1], (1<<20)/s[0])
			b.SetBytes(1 << 20)
			for b.Loop() {
				if err := coder.Encode(blocks); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
