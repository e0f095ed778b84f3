package lease

import (
	"maps"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// pendingTraffic is not written yet. root takes it if the column holds nothing.
type pendingTraffic struct {
	Traffic
	root grid.PublicKey
}

// CountTraffic adds bytes moved for a column, in memory. root is where the
// grant's chain starts, zero without one.
func (l *Ledger) CountTraffic(now time.Time, c Column, root grid.PublicKey, moved Traffic) {
	k := TrafficKey{c, DayOf(now)}
	p := l.traffic[k]
	p.Traffic, p.root = p.plus(moved), root
	l.traffic[k] = p
}

// FlushTraffic writes what CountTraffic gathered. A key that holds nothing
// must cost nothing, so its traffic goes to its root, or to Anonymous where
// the root is gone; that of a label whose first upload is in progress waits.
func (l *Ledger) FlushTraffic() (Change, error) {
	t := newTx(l.view)
	rest := map[TrafficKey]pendingTraffic{}
	for _, k := range slices.SortedFunc(maps.Keys(l.traffic), TrafficKey.compare) {
		p := l.traffic[k]
		to, now := l.trafficColumn(t, k.Column, p.root)
		if !now {
			rest[k] = p
			continue
		}
		old, _ := t.traffic.get(TrafficKey{to, k.Day})
		t.traffic.put(TrafficKey{to, k.Day}, old.plus(p.Traffic))
	}
	change, err := t.finish()
	if err != nil {
		return Change{}, err
	}
	l.traffic = rest
	return change, nil
}

// trafficColumn is where a column's traffic is written, if now.
func (l *Ledger) trafficColumn(t *tx, c Column, root grid.PublicKey) (Column, bool) {
	if c.Kind != KeyedColumn {
		return c, true
	}
	if _, held := t.keys.get(c); held {
		return c, true
	}
	if _, coming := l.reserved[ColumnCounterKey(c)]; coming {
		return c, false
	}
	if _, held := t.keys.get(ColumnOf(root)); held && !root.IsZero() {
		return ColumnOf(root), true
	}
	return Anonymous, true
}

// TrafficByDay lists a column's traffic, oldest first, with what is not
// written yet.
func (l *Ledger) TrafficByDay(c Column) (map[Day]Traffic, error) {
	days := map[Day]Traffic{}
	err := l.view.TrafficDays(c, func(d Day, t Traffic) error {
		days[d] = t
		return nil
	})
	for k, p := range l.traffic {
		if k.Column == c {
			days[k.Day] = days[k.Day].plus(p.Traffic)
		}
	}
	return days, err
}

// ForgetTraffic deletes a column's days before the given one.
func (l *Ledger) ForgetTraffic(c Column, before Day) (Change, error) {
	t := newTx(l.view)
	err := l.view.TrafficDays(c, func(d Day, _ Traffic) error {
		if d < before {
			t.traffic.delete(TrafficKey{c, d})
		}
		return nil
	})
	if err != nil {
		t.fail(err)
	}
	return t.finish()
}
