package lease_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// TestLedgerScripts runs testdata/ledger. Times are days since a Monday;
// sizes are bytes. Verbs, one line each:
//
//	root NAME [quota=N] [until=DAY] [op=a,b] [disabled]
//	remove NAME [cancel] | revoke NAME | unrevoke NAME | rekey NAME NAME
//	reserve|add|renew|cancel PATH SHARE [size=N] [free=N] [space=NAME:N] [op=a,b] [max-size=N]
//	renew|cancel PATH SHARE,SHARE,... [the same]
//	commit|release PATH SHARE [size=N] [ueb=N]
//	put PATH SHARE [size=N] [ueb=N] [free=N] [space=NAME:N] [op=a,b] [max-size=N]
//	mutate|reserve-write PATH SHARE [size=N] [enabler=N] [seen=N] [free=N] [space=NAME:N] [op=a,b] [max-size=N]
//	expire | cancel-under NAME | barred | gone | usage column|root|below NAME | day N
//
// PATH is alice, or alice>bob: bob under alice's certificate; - is a client
// without a key; so is it as the NAME of a root.
func TestLedgerScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/ledger", func(t *testing.T, path string) {
		s := &ledgerScript{bank: newBank(), now: epoch}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				out.WriteString(s.line(strings.Fields(line)) + "\n")
			}
			return out.String()
		})
	})
}

type ledgerScript struct {
	*bank
	now   time.Time
	going []lease.GoingShare
}

// line runs one verb; what it answers is the line of output.
func (s *ledgerScript) line(w []string) string {
	verbs := map[string]func([]string) (string, error){
		"root": s.root, "remove": s.remove, "revoke": s.revoke, "unrevoke": s.revoke, "rekey": s.rekey,
		"reserve": s.reserve, "commit": s.commitLine, "release": s.release, "put": s.put, "add": s.lease, "renew": s.lease,
		"mutate": s.mutate, "reserve-write": s.reserveWrite,
		"cancel": s.cancel, "cancel-under": s.cancelUnder, "barred": s.barred, "expire": s.expire, "gone": s.gone, "usage": s.usage, "day": s.day,
	}
	verb, ok := verbs[w[0]]
	if !ok {
		return "no such verb: " + w[0]
	}
	answer, err := verb(w)
	if err != nil {
		return "error: " + err.Error()
	}
	return answer
}

// options are the words name=value.
func options(words []string) map[string]string {
	o := map[string]string{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		o[name] = value
	}
	return o
}

func number(s string) *int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func numberOr(s string, other int64) int64 {
	if n := number(s); n != nil {
		return *n
	}
	return other
}

func operations(o map[string]string) *lease.Operation {
	if o["op"] == "" {
		return nil
	}
	op, err := lease.ParseOperation(o["op"])
	if err != nil {
		panic(err) // a script that is wrong
	}
	return &op
}

func (s *ledgerScript) day(w []string) (string, error) {
	s.now = epoch.Add(time.Duration(*number(w[1])) * 24 * time.Hour)
	return "ok", nil
}

func (s *ledgerScript) root(w []string) (string, error) {
	o := options(w[2:])
	r := lease.Root{Key: rootNamed(w[1]), Petname: w[1], Quota: number(o["quota"]), Operation: operations(o)}
	if days := number(o["until"]); days != nil {
		r.Until = new(epoch.Unix() + *days*86400)
	}
	_, r.Disabled = o["disabled"]
	return "ok", s.done(s.PutRoots(r))
}

func (s *ledgerScript) remove(w []string) (string, error) {
	return "ok", s.done(s.RemoveRoots(len(w) > 2, rootNamed(w[1])))
}

// rootNamed is named, but - is the root of clients without a key.
func rootNamed(name string) grid.PublicKey {
	if name == "-" {
		return grid.PublicKey{}
	}
	return named(name)
}

func (s *ledgerScript) rekey(w []string) (string, error) {
	return "ok", s.done(s.Rekey(named(w[1]), named(w[2])))
}

func (s *ledgerScript) barred([]string) (string, error) {
	all, err := s.Barred(s.now)
	var out []string
	for _, b := range all {
		out = append(out, nameOf(b.ID.Share.StorageIndex[:])+": "+b.Err.Error())
	}
	return fmt.Sprintf("%d barred. %s", len(all), strings.Join(out, "; ")), err
}

// cancelUnder tries every lease there is, as a scan would.
func (s *ledgerScript) cancelUnder(w []string) (string, error) {
	all := slices.SortedFunc(maps.Keys(s.view.leases), lease.LeaseID.Compare)
	before := len(s.view.leases)
	change, going, err := s.CancelUnder(rootNamed(w[1]), all)
	s.going = append(s.going, going...)
	err = s.done(change, err)
	return fmt.Sprintf("%d leases end, %d shares go", before-len(s.view.leases), len(going)), err
}

// nameOf is what named or shareNamed was given.
func nameOf(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func (s *ledgerScript) revoke(w []string) (string, error) {
	return "ok", s.done(s.SetRevoked(w[0] == "revoke", named(w[1])))
}

func (s *ledgerScript) grant(path string, o map[string]string) lease.Grant {
	if path == "-" {
		return lease.Grant{}
	}
	g := chainOf(path, func(name string) *int64 {
		to, n, _ := strings.Cut(o["space"], ":")
		if to != name {
			return nil
		}
		return number(n)
	})
	g.Effective = lease.Restrictions{Operation: operations(o), MaxSize: number(o["max-size"])}
	return g
}

func (s *ledgerScript) reserve(w []string) (string, error) {
	o := options(w[3:])
	r, err := s.Reserve(s.now, s.grant(w[1], o), shareNamed(w[2]), numberOr(o["size"], 0), numberOr(o["free"], lease.NoLimit))
	if r.AlreadyHave {
		return fmt.Sprintf("already have %d bytes, content %d", r.Size, r.UEBHash[0]), err
	}
	return "reserved", err
}

func (s *ledgerScript) commitLine(w []string) (string, error) {
	o := options(w[3:])
	b := fileBody(numberOr(o["size"], 0))
	b.UEBHash = lease.UEBHash{byte(numberOr(o["ueb"], 7))}
	change, done, err := s.Commit(s.now, s.grant(w[1], o).Column(), shareNamed(w[2]), b)
	return s.committed(done), s.done(change, err)
}

func (s *ledgerScript) put(w []string) (string, error) {
	o := options(w[3:])
	b := fileBody(numberOr(o["size"], 0))
	b.UEBHash = lease.UEBHash{byte(numberOr(o["ueb"], 7))}
	change, done, err := s.Put(s.now, s.grant(w[1], o), shareNamed(w[2]), b, numberOr(o["free"], lease.NoLimit))
	return s.committed(done), s.done(change, err)
}

func enabler(o map[string]string) lease.WriteEnabler {
	return lease.WriteEnabler{byte(numberOr(o["enabler"], 9))}
}

// mutate writes one share.
func (s *ledgerScript) mutate(w []string) (string, error) {
	o, id := options(w[3:]), shareNamed(w[2])
	m := lease.Mutation{StorageIndex: id.StorageIndex, Enabler: enabler(o),
		Seen:   []lease.Seen{{Num: id.Num, Writes: uint64(numberOr(o["seen"], 0))}},
		Writes: []lease.ShareWrite{{Num: id.Num, Body: fileBody(numberOr(o["size"], 0))}}}
	m.Writes[0].Body.UEBHash = lease.UEBHash{}
	change, done, err := s.Mutate(s.now, s.grant(w[1], o), m, numberOr(o["free"], lease.NoLimit))
	if err = s.done(change, err); err != nil {
		return "", err
	}
	share := s.view.shares[id]
	return fmt.Sprintf("written, %d bytes, %d times, lease until day %d", share.Size, share.Writes, (done.Expires-epoch.Unix())/86400), nil
}

func (s *ledgerScript) reserveWrite(w []string) (string, error) {
	o := options(w[3:])
	err := s.ReserveWrite(s.now, s.grant(w[1], o), shareNamed(w[2]), enabler(o), numberOr(o["size"], 0), numberOr(o["free"], lease.NoLimit))
	return "reserved", err
}

func (s *ledgerScript) release(w []string) (string, error) {
	return fmt.Sprint("released ", s.Release(s.grant(w[1], nil).Column(), shareNamed(w[2]))), nil
}

func (s *ledgerScript) lease(w []string) (string, error) {
	g := s.grant(w[1], options(w[3:]))
	if w[0] == "add" {
		o := options(w[3:])
		var content *lease.UEBHash
		if ueb := number(o["ueb"]); ueb != nil {
			content = &lease.UEBHash{byte(*ueb)}
		}
		change, done, err := s.AddLease(s.now, g, shareNamed(w[2]), content, numberOr(o["free"], lease.NoLimit))
		return s.committed(done), s.done(change, err)
	}
	shares := sharesNamed(w[2])
	change, results, err := s.RenewLeases(s.now, g, shares)
	return s.results(shares, results, s.committed), s.done(change, err)
}

// sharesNamed reads names with commas.
func sharesNamed(names string) []lease.ShareID {
	var ids []lease.ShareID
	for name := range strings.SplitSeq(names, ",") {
		ids = append(ids, shareNamed(name))
	}
	return ids
}

// results says what became of each lease.
func (s *ledgerScript) results(ids []lease.ShareID, results []lease.LeaseResult, say func(lease.Committed) string) string {
	var out []string
	for i, r := range results {
		text := say(r.Committed)
		if r.Err != nil {
			text = "error: " + r.Err.Error()
		}
		if len(ids) > 1 {
			text = strings.TrimRight(string(ids[i].StorageIndex[:]), "\x00") + ": " + text
		}
		out = append(out, text)
	}
	return strings.Join(out, "\n")
}

func (s *ledgerScript) committed(c lease.Committed) string {
	if c.Expires == 0 {
		return fmt.Sprintf("no lease: %d bytes of content %d are there", c.Size, c.UEBHash[0])
	}
	out := fmt.Sprintf("lease on %d bytes until day %d", c.Size, (c.Expires-epoch.Unix())/86400)
	for _, flag := range []struct {
		set  bool
		name string
	}{{c.Dropped, "came second"}, {c.Renewed, "renewed"}, {c.TookOver, "took over"}} {
		if flag.set {
			out += ", " + flag.name
		}
	}
	return out
}

func (s *ledgerScript) cancel(w []string) (string, error) {
	shares := sharesNamed(w[2])
	change, results, going, err := s.CancelLeases(s.now, s.grant(w[1], options(w[3:])), shares)
	s.going = append(s.going, going...)
	out := s.results(shares, results, func(lease.Committed) string { return fmt.Sprintf("%d shares go", len(going)) })
	return out, s.done(change, err)
}

func (s *ledgerScript) expire([]string) (string, error) {
	var all []lease.LeaseID
	for id := range s.view.leases {
		all = append(all, id)
	}
	before := len(all)
	change, going, err := s.Expire(s.now, all)
	s.going = append(s.going, going...)
	err = s.done(change, err)
	return fmt.Sprintf("%d leases end, %d shares go", before-len(s.view.leases), len(going)), err
}

func (s *ledgerScript) gone([]string) (string, error) {
	for _, g := range s.going {
		if err := s.done(s.Gone(g)); err != nil {
			return "", err
		}
	}
	s.going = nil
	return fmt.Sprintf("%d shares, %d chains, %d keys left", len(s.view.shares), len(s.view.chains), len(s.view.keys)), nil
}

func (s *ledgerScript) usage(w []string) (string, error) {
	switch w[1] {
	case "below":
		all, _, err := s.Below(named(w[2]), nil, 1000)
		var out []string
		for _, d := range all {
			out = append(out, nameOf(d.Delegate[:])+": "+usageText(d.Usage))
		}
		return strings.Join(out, "; "), err
	case "root":
		u, err := s.Usage(lease.RootCounterKey(named(w[2])))
		return usageText(u), err
	default:
		u, err := s.Usage(lease.ColumnCounterKey(s.grant(w[2], nil).Column()))
		return usageText(u), err
	}
}

func usageText(u lease.Usage) string {
	return fmt.Sprintf("%d bytes in %d leases, %d reserved", u.Stored.Bytes, u.Stored.Leases, u.Reserved.Bytes)
}
