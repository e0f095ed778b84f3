package immutable

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
)

// The hash was printed by CPython 3.11 with allmydata.hashtree of Tahoe-LAFS
// 1.20.0 over list(HashTree(P leaves).needed_hashes(i, include_leaf=True)) for
// P = 1, 2, 4 … 256 and every leaf i, each as "P i [a, b, c]" and a line end.
func TestChainOrderIsPythons(t *testing.T) {
	h := tagged.New("orders")
	for total := 1; total <= 256; total *= 2 {
		for i := range total {
			order := chainOrder(total, int64(i))
			fmt.Fprintf(h, "%d %d [", total, i)
			for j, n := range order {
				if j > 0 {
					fmt.Fprint(h, ", ")
				}
				fmt.Fprint(h, n)
			}
			fmt.Fprint(h, "]\n")
			slices.Sort(order)
			if !slices.Equal(order, hashtree.Path(int64(total), int64(i))) {
				t.Fatalf("leaf %d of %d: %v is not its path", i, total, order)
			}
		}
	}
	const want = "47npzl6q66wb5qtv725g7gz7oovznfv5xcg3rlhx4g5tp6mjhg2q"
	if got := h.Sum().String(); got != want {
		t.Errorf("orders hash to %s, want %s", got, want)
	}
}
