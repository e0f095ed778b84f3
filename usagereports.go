package tarn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/tarn-grid/tarn/actors/aggregator"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
)

// ErrUsageReports is a text that is no export of an aggregator.
var ErrUsageReports = errors.New("not what tarn aggregator export writes")

// UsageReport is what one server said last, as it signed it, for whom does not
// want to believe the aggregator. As JSON it is a line of an export.
type UsageReport struct {
	Server   string `json:"server"`
	Nickname string `json:"nickname"`
	// Asked is when the aggregator says that it asked.
	Asked time.Time `json:"asked"`
	Pages [][]byte  `json:"pages"`
}

// EachUsageReport visits those that the aggregator in a folder keeps, whether or
// not its node runs, one at a time.
func EachUsageReport(dir string, visit func(UsageReport) error) error {
	f := nodeFolder{dir}.usageFiles()
	files, err := filepath.Glob(f.reports("*" + usageSuffix))
	if err != nil {
		return err
	}
	for _, path := range files {
		var r reportRecord
		if err := readUsage(path, &r, func() int { return r.Format }, reportFormat); err != nil {
			return err
		}
		if err := visit(UsageReport{r.Server, r.Nickname, time.Unix(r.At, 0).UTC(), r.Pages}); err != nil {
			return err
		}
	}
	return nil
}

// UsageCheck is how an export is read.
type UsageCheck struct {
	// Of is whose usage it must be, zero for anybody's: a server has no other way
	// to tell an aggregator less than all than to be asked by somebody else.
	Of grid.PublicKey
	// Members says whose keys are whose, and which servers must be there.
	Members []Member
	Now     time.Time
	// Older than this a report is stale.
	Older time.Duration
}

// CheckUsage adds up an export and believes nothing in it but what servers
// signed. A server counts as it said last; one whose report was changed, is not
// whole or not of this key, counts nothing, and Err says why.
func CheckUsage(export io.Reader, c UsageCheck) (tally.Summary, error) {
	t, said := tally.New(nil), map[grid.ServerID]int64{}
	lines := json.NewDecoder(export)
	for {
		var u UsageReport
		switch err := lines.Decode(&u); {
		case errors.Is(err, io.EOF):
			names, servers := ownersOf(c.Members)
			return t.Detailed(names, servers, c.Now.Unix(), int64(c.Older/time.Second)), nil
		case err != nil:
			return tally.Summary{}, fmt.Errorf("%w: %w", ErrUsageReports, err)
		}
		id, err := grid.ParseServerID(u.Server)
		if err != nil {
			return tally.Summary{}, fmt.Errorf("%w: %w", ErrUsageReports, err)
		}
		r, err := c.read(id, u.Pages)
		if before, there := said[id]; there && (err != nil || r.Said <= before) {
			continue
		}
		if err != nil {
			t.Fail(id, u.Nickname, err.Error())
			continue
		}
		said[id] = r.Said
		r.Nickname, r.At = u.Nickname, r.Said
		t.Take(r)
	}
}

// read reads one report as far as it can be believed.
func (c UsageCheck) read(id grid.ServerID, pages [][]byte) (tally.Report, error) {
	r, err := aggregator.ReadReport(id, pages)
	switch {
	case err != nil:
		return r, err
	case !c.Of.IsZero() && r.Of != c.Of:
		return r, fmt.Errorf("it is about what is below %s", r.Of.Short())
	case r.Said > c.Now.Add(lease.ClockSkew).Unix():
		return r, errors.New("it is dated later than now")
	}
	return r, nil
}
