package main

import (
	"database/sql"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver

	"github.com/tarn-grid/tarn/lease"
)

// schema has the columns of the lease table: keys are interned as there, and
// each table is one tree.
const schema = `
CREATE TABLE IF NOT EXISTS lease (
	account INTEGER, si BLOB, num INTEGER, expires INTEGER, renewed INTEGER, made INTEGER, size INTEGER, chain INTEGER,
	PRIMARY KEY (account, si, num)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS share (
	si BLOB, num INTEGER, state INTEGER, size INTEGER, file INTEGER, leases INTEGER, ueb BLOB,
	PRIMARY KEY (si, num)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holder (si BLOB, num INTEGER, account INTEGER, PRIMARY KEY (si, num, account)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (
	kind INTEGER, id INTEGER, delegate INTEGER, bytes INTEGER, leases INTEGER,
	PRIMARY KEY (kind, id, delegate)) WITHOUT ROWID;`

const (
	ofColumn, ofRoot, ofPair = 1, 2, 3
	rootID                   = accounts
	stable, going            = 1, 2
)

const (
	addLease  = `INSERT INTO lease VALUES (?, ?, ?, ?, ?, ?, 0, ?)`
	addShare  = `INSERT INTO share VALUES (?, ?, ?, 0, 0, 1, ?)`
	addHolder = `INSERT INTO holder VALUES (?, ?, ?)`
	count     = `INSERT INTO counter VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, leases = leases + excluded.leases`
	usageOf = `SELECT bytes, leases FROM counter WHERE kind = ? AND id = ? AND delegate = 0`
	scan    = `SELECT account, si, num, expires FROM lease WHERE (account, si, num) > (?, ?, ?)
		ORDER BY account, si, num LIMIT ?`
	endLease  = `DELETE FROM lease WHERE account = ? AND si = ? AND num = ? AND expires <= ?`
	endHolder = `DELETE FROM holder WHERE si = ? AND num = ? AND account = ?`
	endShare  = `UPDATE share SET leases = leases - 1, state = CASE leases WHEN 1 THEN ? ELSE state END WHERE si = ? AND num = ?`
)

// sqlite is the same table there.
type sqlite struct {
	db         *sql.DB
	statements map[string]*sql.Stmt
}

func openSQLite(dir string) (table, error) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "leases.db")+"?_journal_mode=WAL&_synchronous=FULL&_cache_size=-24576")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &sqlite{db, map[string]*sql.Stmt{}}
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, text := range []string{addLease, addShare, addHolder, count, usageOf, scan, endLease, endHolder, endShare} {
		if s.statements[text], err = db.Prepare(text); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return s, nil
}

// change is one transaction.
type change struct {
	*sqlite
	tx   *sql.Tx
	sums map[[3]int]int // leases, by kind, id and delegate
	err  error
}

func (s *sqlite) change(what func(*change)) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	c := &change{s, tx, map[[3]int]int{}, nil}
	what(c)
	for _, k := range slices.SortedFunc(maps.Keys(c.sums), func(a, b [3]int) int { return slices.Compare(a[:], b[:]) }) {
		c.do(count, k[0], k[1], k[2], c.sums[k]*lease.LeaseOverhead, c.sums[k])
	}
	if c.err != nil {
		return errors.Join(c.err, tx.Rollback())
	}
	return tx.Commit()
}

func (c *change) do(text string, values ...any) {
	if c.err == nil {
		_, c.err = c.tx.Stmt(c.statements[text]).Exec(values...)
	}
}

// charge notes leases for everyone who is charged for them.
func (c *change) charge(account, leases int) {
	c.sums[[3]int{ofColumn, account, 0}] += leases
	c.sums[[3]int{ofRoot, rootID, 0}] += leases
	c.sums[[3]int{ofPair, rootID, account}] += leases
}

func (s *sqlite) add(first, end int) error {
	now, expires := made.Unix(), made.Add(lease.LeaseDuration).Unix()
	return s.change(func(c *change) {
		for i := first; i < end; i++ {
			id, account := shareOf(i), i%accounts
			si := id.StorageIndex[:]
			c.do(addLease, account, si, int(id.Num), expires, now, now, account)
			c.do(addShare, si, int(id.Num), stable, make([]byte, 32))
			c.do(addHolder, si, int(id.Num), account)
			c.charge(account, 1)
		}
	})
}

func (s *sqlite) usage(account int) (c lease.Counter, err error) {
	err = s.statements[usageOf].QueryRow(ofColumn, account).Scan(&c.Bytes, &c.Leases)
	return c, err
}

// row is a lease that a scan has seen.
type row struct {
	account int
	si      []byte
	num     int
	expires int64
}

func (s *sqlite) expire(now time.Time) (ended int, err error) {
	for after := (row{account: -1}); ; {
		rows, err := s.scan(after)
		if err != nil || len(rows) == 0 {
			return ended, err
		}
		after = rows[len(rows)-1]
		err = s.change(func(c *change) {
			for _, r := range rows {
				if r.expires <= now.Unix() {
					c.end(r, now)
					ended++
				}
			}
		})
		if err != nil {
			return ended, err
		}
	}
}

func (c *change) end(r row, now time.Time) {
	c.do(endLease, r.account, r.si, r.num, now.Unix())
	c.do(endHolder, r.si, r.num, r.account)
	c.do(endShare, going, r.si, r.num)
	c.charge(r.account, -1)
}

func (s *sqlite) scan(after row) (all []row, err error) {
	rows, err := s.statements[scan].Query(after.account, after.si, after.num, step)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.account, &r.si, &r.num, &r.expires); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// close leaves no log behind.
func (s *sqlite) close() error {
	_, err := s.db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	return errors.Join(err, s.db.Close())
}
