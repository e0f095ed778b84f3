package immutable

import "github.com/tarn-grid/tarn/file/hashtree"

// chainOrder lists the nodes of a share's hash chain in the order in which
// Tahoe-LAFS writes them. It iterates over a Python set, so the order is that
// of CPython's hash table (Objects/setobject.c, the same since 3.7): anything
// else would be as valid, but not the same share.
func chainOrder(total int, num int64) []int64 {
	path := hashtree.Path(int64(total), num)
	leaf := hashtree.Padded(int64(total)) - 1 + num
	s := newPySet(8)
	for i := len(path) - 1; i >= 0; i-- { // siblings, upwards
		if path[i] != leaf {
			s = s.add(path[i])
		}
	}
	return s.add(leaf).items()
}

// pySet is a table of small integers, which are their own hashes. A slot holds
// the integer plus one, or 0 if it is free.
type pySet struct {
	slots []int64
	used  int
}

func newPySet(size int) pySet { return pySet{slots: make([]int64, size)} }

// add inserts v, which is not there yet. A table that is three fifths full is
// copied to the next power of two above four times its use.
func (s pySet) add(v int64) pySet {
	s.insert(v)
	if s.used*5 < (len(s.slots)-1)*3 {
		return s
	}
	size := 8
	for size <= 4*s.used {
		size *= 2
	}
	larger := newPySet(size)
	for _, v := range s.items() {
		larger.insert(v)
	}
	return larger
}

// insert probes a run of neighbours where the table has room for the run, and
// then jumps.
func (s *pySet) insert(v int64) {
	const run = 9
	mask := len(s.slots) - 1
	slot := int(v) & mask
	for perturb := int(v); ; {
		last := slot
		if slot+run <= mask {
			last += run
		}
		for i := slot; i <= last; i++ {
			if s.slots[i] == 0 {
				s.slots[i] = v + 1
				s.used++
				return
			}
		}
		perturb >>= 5
		slot = (slot*5 + 1 + perturb) & mask
	}
}

func (s pySet) items() []int64 {
	items := make([]int64, 0, s.used)
	for _, slot := range s.slots {
		if slot != 0 {
			items = append(items, slot-1)
		}
	}
	return items
}
