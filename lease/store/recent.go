package store

// recent remembers what was used lately, in two generations. What is put, or
// asked for, is in the young one; when that is full it becomes the old one, and
// what was not used since it last did is forgotten. So what is used all the time
// stays, whatever else passes by, and a use costs a look into a map.
type recent[K comparable, V any] struct {
	limit      int // of a generation
	size       func(K, V) int
	young, old map[K]V
	used       int // of the young one
}

func newRecent[K comparable, V any](limit int, size func(K, V) int) recent[K, V] {
	return recent[K, V]{limit: limit, size: size, young: map[K]V{}}
}

func (r *recent[K, V]) get(k K) (V, bool) {
	v, ok := r.young[k]
	if ok {
		return v, true
	}
	if v, ok = r.old[k]; ok {
		r.put(k, v)
	}
	return v, ok
}

// put remembers what is not too large for it.
func (r *recent[K, V]) put(k K, v V) {
	r.delete(k)
	size := r.size(k, v)
	if size > r.limit {
		return
	}
	if r.used+size > r.limit {
		r.old, r.young, r.used = r.young, map[K]V{}, 0
	}
	r.young[k] = v
	r.used += size
}

func (r *recent[K, V]) delete(k K) {
	if v, ok := r.young[k]; ok {
		r.used -= r.size(k, v)
		delete(r.young, k)
	}
	delete(r.old, k)
}
