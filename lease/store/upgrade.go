package store

import "fmt"

// format is the number of the key schema that this code writes.
const format = 3

// steps brings a table from format i+1 to i+2. Each is one batch that Open
// makes durable together with the new number, so a crash repeats it whole.
var steps = []func(*Store) (batch, error){
	// Format 2 has records of kinds that format 1 did not know (E, X), and none
	// that is changed.
	func(*Store) (batch, error) { return nil, nil },
	// Format 3 has shares that can be changed, which format 2 would misread.
	func(*Store) (batch, error) { return nil, nil },
}

// upgrade gives an empty table its format number, refuses a newer one and
// takes the steps from an older one.
func (s *Store) upgrade(steps []func(*Store) (batch, error)) error {
	newest := uint64(len(steps)) + 1
	found, err := formatOf(s.eng)
	if err != nil {
		return err
	}
	if found > newest {
		return fmt.Errorf("%w: format %d, this one knows %d; use the newer one", ErrNewer, found, newest)
	}
	if found == 0 {
		b, err := s.fresh(newest)
		if err != nil {
			return err
		}
		return write(s.eng, b)
	}
	for ; found < newest; found++ {
		b, err := steps[found-1](s)
		if err != nil {
			return fmt.Errorf("upgrade from format %d: %w", found, err)
		}
		b.put(formatKey, encodeNumber(found+1))
		if err := write(s.eng, b); err != nil {
			return fmt.Errorf("upgrade from format %d: %w", found, err)
		}
	}
	return nil
}

// formatOf is 0 for a table that is empty.
func formatOf(eng engine) (uint64, error) {
	b, ok, err := eng.get(formatKey)
	if err != nil {
		return 0, err
	}
	if ok {
		return decodeNumber(b)
	}
	err = eng.scan(nil, nil, func([]byte, []byte) error { return ErrDamaged })
	if err != nil {
		return 0, fmt.Errorf("find the format number: %w", err)
	}
	return 0, nil
}

// write applies a batch of the table's own and waits for it.
func write(eng engine, b batch) error {
	wait, err := eng.apply(b)
	if err != nil {
		return err
	}
	return wait()
}
