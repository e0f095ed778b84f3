package tarn

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tarn-grid/tarn/actors/aggregator"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
)

// usageFiles implements aggregator.Store with a file for the last report of
// each server, and one for each day: compressed JSON, replaced as a whole. Ten
// thousand members take some 200 KB a day.
type usageFiles struct{ dir string }

var _ aggregator.Store = usageFiles{}

func (f nodeFolder) usageFiles() usageFiles { return usageFiles{f.private("usage")} }

const (
	usageSuffix = ".json.gz"
	// daysKept is how many days before the newest there are files of.
	daysKept = 366
	// maxUsageFile bounds what is in one of them, in bytes.
	maxUsageFile = 256 << 20
	// dayFormat and reportFormat are their versions. Reports of format 1 were not
	// signed: they are passed over, and the servers asked again.
	dayFormat    = 1
	reportFormat = 2
)

// reportRecord is a report as the server signed it, page by page.
type reportRecord struct {
	Format   int      `json:"format"`
	Server   string   `json:"server"`
	Nickname string   `json:"nickname"`
	At       int64    `json:"at"`
	Pages    [][]byte `json:"pages"`
}

type dayRecord struct {
	Format int `json:"format"`
	tally.Day
}

func (f usageFiles) reports(name string) string { return filepath.Join(f.dir, "servers", name) }

// dayFile is named by its date, so that names are in the order of days.
func (f usageFiles) dayFile(d lease.Day) string {
	return filepath.Join(f.dir, "days", d.Date()+usageSuffix)
}

// Load implements aggregator.Store.
func (f usageFiles) Load() ([]tally.Report, error) {
	files, err := filepath.Glob(f.reports("*" + usageSuffix))
	if err != nil {
		return nil, err
	}
	var all []tally.Report
	for _, path := range files {
		var r reportRecord
		if err := readUsage(path, &r, func() int { return r.Format }, reportFormat); err != nil {
			return nil, err
		}
		if r.Format < reportFormat {
			continue
		}
		report, err := r.report()
		if err != nil {
			return nil, fmt.Errorf("%s: it is damaged (delete it: the server is asked again): %w", path, err)
		}
		all = append(all, report)
	}
	return all, nil
}

func (r reportRecord) report() (tally.Report, error) {
	id, err := grid.ParseServerID(r.Server)
	if err != nil {
		return tally.Report{}, err
	}
	report, err := aggregator.ReadReport(id, r.Pages)
	report.Server, report.Nickname, report.At = id, r.Nickname, r.At
	return report, err
}

// SaveReport implements aggregator.Store.
func (f usageFiles) SaveReport(r tally.Report, pages [][]byte) error {
	record := reportRecord{Format: reportFormat, Server: r.Server.String(), Nickname: r.Nickname, At: r.At, Pages: pages}
	return writeUsage(f.reports(r.Server.String()+usageSuffix), record)
}

// SaveDay implements aggregator.Store.
func (f usageFiles) SaveDay(d tally.Day) error {
	if err := writeUsage(f.dayFile(d.Day), dayRecord{dayFormat, d}); err != nil {
		return err
	}
	oldest := filepath.Base(f.dayFile(d.Day - daysKept))
	return f.eachDay(func(path string) error {
		if filepath.Base(path) < oldest {
			return os.Remove(path)
		}
		return nil
	})
}

// eachDay visits the files of days, oldest first.
func (f usageFiles) eachDay(visit func(path string) error) error {
	files, err := filepath.Glob(filepath.Join(f.dir, "days", "*"+usageSuffix))
	for _, path := range files {
		err = errors.Join(err, visit(path))
	}
	return err
}

// days reads those from first on.
func (f usageFiles) days(first lease.Day) ([]tally.Day, error) {
	var all []tally.Day
	from := filepath.Base(f.dayFile(first))
	err := f.eachDay(func(path string) error {
		if strings.Compare(filepath.Base(path), from) < 0 {
			return nil
		}
		var d dayRecord
		if err := readUsage(path, &d, func() int { return d.Format }, dayFormat); err != nil {
			return err
		}
		all = append(all, d.Day)
		return nil
	})
	return all, err
}

func writeUsage(path string, record any) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(record), z.Close()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeFile(path, b.Bytes())
}

// readUsage reads a record of this format or an older one.
func readUsage(path string, into any, format func() int, newest int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err == nil {
		err = json.NewDecoder(io.LimitReader(z, maxUsageFile)).Decode(into)
	}
	if err != nil {
		return fmt.Errorf("%s is damaged (delete it): %w", path, err)
	}
	if got := format(); got < 1 || got > newest {
		return fmt.Errorf("%s: format %d (this program knows format %d)", path, got, newest)
	}
	return nil
}
