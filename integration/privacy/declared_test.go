package privacy

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// declared are the fields that docs/privacy.md says to be shared.
type declared []*regexp.Regexp

// readDeclared reads the table below the heading "Fields that are shared": a
// pattern in backquotes begins each row, in which * is anything.
func readDeclared(t *testing.T) declared {
	page, err := os.ReadFile("../../docs/privacy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n## Fields that are shared\n")
	if !found {
		t.Fatal("docs/privacy.md has no list of fields that are shared")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	var d declared
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(row[1]), `\*`, `.*`)
		d = append(d, regexp.MustCompile("^"+pattern+"$"))
	}
	if len(d) == 0 {
		t.Fatal("the list of fields that are shared is empty")
	}
	return d
}

func (d declared) has(field string) bool {
	for _, p := range d {
		if p.MatchString(field) {
			return true
		}
	}
	return false
}

// without is the population as it is to those who may not use what is declared.
func (d declared) without(p Population) Population {
	strip := func(s Sighting) Sighting {
		out := Sighting{Values: maps.Clone(s.Values), Numbers: maps.Clone(s.Numbers)}
		maps.DeleteFunc(out.Values, func(name, _ string) bool { return d.has(name) })
		maps.DeleteFunc(out.Numbers, func(name string, _ float64) bool { return d.has(name) })
		return out
	}
	var out Population
	for _, c := range p {
		out = append(out, Client{A: strip(c.A), B: strip(c.B)})
	}
	return out
}

// unused are the patterns that fit no field.
func (d declared) unused(p Population) []string {
	values, _ := p.fields()
	var rows []string
	for _, row := range d {
		if !slices.ContainsFunc(values, row.MatchString) {
			rows = append(rows, row.String())
		}
	}
	return rows
}
