package lease

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// CountTraffic adds bytes moved under a grant, in memory: for its column, its
// root and every pair, as its leases are charged. The zero Grant is a client
// without a key.
func (l *Ledger) CountTraffic(now time.Time, g Grant, moved Traffic) {
	for _, of := range g.chain().Charges() {
		k := TrafficKey{of, DayOf(now)}
		l.traffic[k] = l.traffic[k].plus(moved)
	}
}

// FlushTraffic writes what CountTraffic gathered. A key that holds nothing
// must cost nothing, so its traffic stands at its root alone, or at Anonymous
// where the root is gone; that of a first upload in progress waits.
func (l *Ledger) FlushTraffic() (Change, error) {
	t := newTx(l.view)
	rest := map[TrafficKey]Traffic{}
	for _, k := range slices.SortedFunc(maps.Keys(l.traffic), TrafficKey.Compare) {
		switch to, fate := l.trafficAt(t, k.Of); fate {
		case trafficWritten:
			to := TrafficKey{to, k.Day}
			old, _ := t.traffic.get(to)
			t.traffic.put(to, old.plus(l.traffic[k]))
		case trafficWaits:
			rest[k] = l.traffic[k]
		}
	}
	change, err := t.finish()
	if err != nil {
		return Change{}, err
	}
	l.traffic = rest
	return change, nil
}

// trafficFate is what becomes of traffic that is not written yet.
type trafficFate int

const (
	trafficWritten trafficFate = iota
	trafficWaits
	trafficDropped // its root has it
)

// trafficAt is where traffic is written, if it is.
func (l *Ledger) trafficAt(t *tx, k CounterKey) (CounterKey, trafficFate) {
	held := k.Of.Kind != KeyedColumn
	switch {
	case held:
	case k.Kind == PairCounter:
		_, held = t.counters.get(k)
	default:
		_, held = t.keys.get(k.Of)
	}
	_, coming := l.reserved[k]
	switch {
	case held:
		return k, trafficWritten
	case k.Kind == RootCounter:
		return ColumnCounterKey(Anonymous), trafficWritten
	case coming:
		return k, trafficWaits
	}
	return k, trafficDropped
}

// Traffic is what was moved on a day for what a counter counts, with what is
// not written yet. It is one get.
func (l *Ledger) Traffic(k CounterKey, d Day) (Traffic, error) {
	written, _, err := l.view.Traffic(TrafficKey{k, d})
	return written.plus(l.traffic[TrafficKey{k, d}]), err
}

// ForgetTraffic deletes a counter's days before the given one.
func (l *Ledger) ForgetTraffic(k CounterKey, before Day) (Change, error) {
	t := newTx(l.view)
	t.forgetTraffic(k, before)
	return t.finish()
}

// forgetTraffic deletes days before one.
func (t *tx) forgetTraffic(k CounterKey, before Day) {
	err := t.view.TrafficDays(k, func(d Day, _ Traffic) error {
		if d < before {
			t.traffic.delete(TrafficKey{k, d})
		}
		return nil
	})
	if err != nil {
		t.fail(err)
	}
}

// settleTraffic leaves nothing of pairs that hold nothing.
func (t *tx) settleTraffic() {
	for k, s := range t.counters.m {
		if s.before && !s.present && k.Kind == PairCounter {
			t.forgetTraffic(k, math.MaxInt32)
		}
	}
}

// renameTraffic takes what is not written yet along to a key's new name.
func (l *Ledger) renameTraffic(from, to grid.PublicKey) {
	for _, k := range slices.SortedFunc(maps.Keys(l.traffic), TrafficKey.Compare) {
		moved := l.traffic[k]
		delete(l.traffic, k)
		if k.Of.Of == ColumnOf(from) {
			k.Of.Of = ColumnOf(to)
		}
		if k.Of.Delegate == from {
			k.Of.Delegate = to
		}
		l.traffic[k] = moved
	}
}
