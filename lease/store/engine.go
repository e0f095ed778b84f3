package store

// engine is an ordered map with atomic batches: Pebble, or plain memory. What
// was applied is seen at once; it is durable when its wait has returned nil.
type engine interface {
	// get returns a copy.
	get(key []byte) (value []byte, ok bool, err error)
	// getMany yields those of many keys that there are, which are sorted, by
	// their places in the list. The value is only valid during the call.
	getMany(keys [][]byte, yield func(i int, value []byte) error) error
	// scan yields keys in [lower, upper) in order, until yield returns an error,
	// which it passes on. Key and value are only valid during the call.
	scan(lower, upper []byte, yield func(key, value []byte) error) error
	apply(batch) (wait func() error, err error)
	// applyLazily becomes durable whenever something after it does.
	applyLazily(batch) error
	// fail ends all writing; it returns what failure does from then on.
	fail(error) error
	failure() error
	close() error
}

// batch is a list of puts and deletes; later ones win.
type batch []edit

type edit struct {
	key, value []byte
	delete     bool
}

func (b *batch) put(key, value []byte) { *b = append(*b, edit{key: key, value: value}) }
func (b *batch) delete(key []byte)     { *b = append(*b, edit{key: key, delete: true}) }
