package tree

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tarn-grid/tarn/file/directory"
)

// maxDepth is how many directories may be above each other, maxName how long a name
// may be, in bytes.
const (
	maxDepth = 100
	maxName  = 1024
)

// split takes a path apart, into names in the form in which directories keep them;
// none for the root.
func split(p string) ([]string, error) {
	p = strings.Trim(path.Clean("/"+p), "/")
	if p == "" {
		return nil, nil
	}
	names := strings.Split(p, "/")
	if len(names) > maxDepth {
		return nil, ErrName
	}
	for i, name := range names {
		if !utf8.ValidString(name) || strings.ContainsRune(name, 0) || len(name) > maxName {
			return nil, ErrName
		}
		names[i] = directory.NormalName(name)
	}
	return names, nil
}

// nameable tells the names that can stand in a path.
func nameable(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
