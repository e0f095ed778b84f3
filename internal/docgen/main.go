// Command docgen writes docs/actors.md from the source of the actors. Run it
// at the root of the module: go run ./internal/docgen
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tarn-grid/tarn/internal/archtest"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	text, err := archtest.ActorDocs(root)
	if err != nil {
		return err
	}
	name := filepath.Join(root, filepath.FromSlash(archtest.ActorDocsFile))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
