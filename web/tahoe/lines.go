package tahoe

import (
	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
)

// What an object of a tree is called in a Line.
const (
	LineFile      = "file"
	LineDirectory = "directory"
	LineUnknown   = "unknown"
	LineStats     = "stats"
)

// Line is an object of a tree in answer to t=stream-manifest.
type Line struct {
	Path         []string `json:"path"`
	Cap          string   `json:"cap"`
	Type         string   `json:"type"`
	Verify       string   `json:"verifycap"`
	Repair       string   `json:"repaircap"`
	StorageIndex string   `json:"storage-index"`
}

// LineOf is what is said of an object that a walk came to.
func LineOf(v tarn.Visited) Line {
	c := v.Capability()
	l := Line{Path: v.Path, Cap: c.String(), Type: lineType(c), StorageIndex: StorageIndexText(c)}
	if l.Path == nil {
		l.Path = []string{}
	}
	if verifier, err := file.Verifier(c); err == nil {
		l.Verify = verifier.String()
		switch {
		case c.Immutable():
			l.Repair = l.Verify
		case c.Writable():
			l.Repair = c.String()
		}
	}
	return l
}

func lineType(c file.Capability) string {
	switch c.(type) {
	case file.Directory:
		return LineDirectory
	case file.Unknown:
		return LineUnknown
	}
	return LineFile
}

// StorageIndexText is empty for what has no shares.
func StorageIndexText(c file.Capability) string {
	if index, ok := file.StorageIndexOf(c); ok {
		return index.String()
	}
	return ""
}

// Results are what a check found or, if it was to repair, what became of an
// object: one of the two.
type Results struct {
	Checked  *health.JSON       `json:"check-results,omitempty"`
	Repaired *health.RepairJSON `json:"check-and-repair-results,omitempty"`
}

// ResultsOf are those of a check that was to repair, or was not.
func ResultsOf(r tarn.RepairResult, repair bool) Results {
	if repair {
		j := health.JSONOfRepair(r.Before.Report, r.After.Report, r.Attempted)
		return Results{Repaired: &j}
	}
	j := r.Before.JSON()
	return Results{Checked: &j}
}

// CheckedLine is an object of a tree in answer to t=stream-deep-check. Tahoe says
// nothing of the last four: why an object could not be checked, why what is in a
// directory could not be, for which it ends the answer; why a repair was given up,
// and what people call the servers that have damaged shares.
type CheckedLine struct {
	Line
	Results
	Failed      string `json:"error,omitempty"`
	Unread      string `json:"unread,omitempty"`
	RepairError string `json:"repair-error,omitempty"`

	Nicknames map[string]string `json:"nicknames,omitempty"`
}

// CheckedLineOf is what is said of an object after a check that was to repair, or
// was not.
func CheckedLineOf(e tarn.Examined, repair bool) CheckedLine {
	l := CheckedLine{Line: LineOf(e.Visited), Failed: sentence(e.Failed), Unread: sentence(e.Unread), RepairError: sentence(e.Err)}
	if e.Failed != nil {
		return l
	}
	l.Results = ResultsOf(e.RepairResult, repair)
	for _, f := range e.Before.Corrupt {
		if name := e.Before.Names[f.Server]; name != "" {
			if l.Nicknames == nil {
				l.Nicknames = map[string]string{}
			}
			l.Nicknames[f.Server.String()] = name
		}
	}
	return l
}

func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// StatsLine is the last line of a walk.
type StatsLine struct {
	Type  string         `json:"type"`
	Stats tarn.DeepStats `json:"stats"`
}

// StatsLineOf fills it in.
func StatsLineOf(s tarn.DeepStats) StatsLine { return StatsLine{LineStats, s} }
