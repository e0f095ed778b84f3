package lease

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// annotator writes CBOR as hex, one item a line, each with its meaning. Byte
// strings that hold a body or a chain are opened up.
type annotator struct {
	out  strings.Builder
	rest []byte
}

func annotate(t testing.TB, b []byte) string {
	a := &annotator{rest: b}
	for len(a.rest) > 0 {
		a.item(t, 0)
	}
	return a.out.String()
}

func (a *annotator) take(n int) []byte {
	taken := a.rest[:n]
	a.rest = a.rest[n:]
	return taken
}

func (a *annotator) line(depth int, b []byte, format string, args ...any) {
	digits := strings.Repeat("  ", depth) + hex.EncodeToString(b)
	fmt.Fprintf(&a.out, "%-50s # %s\n", digits, fmt.Sprintf(format, args...))
}

// item writes one CBOR item of those that deterministic encoding of this
// package's types yields.
func (a *annotator) item(t testing.TB, depth int) {
	head := a.head()
	major, value := head[0]>>5, argument(head)
	switch major {
	case 0:
		a.line(depth, head, "%d", value)
	case 2:
		a.bytes(t, depth, head, int(value))
	case 3:
		name := a.take(int(value))
		a.line(depth, append(head[:len(head):len(head)], name...), "%q", name)
	case 4:
		a.line(depth, head, "array of %d", value)
		for range value {
			a.item(t, depth+1)
		}
	case 5:
		a.line(depth, head, "map of %d", value)
		for range 2 * value {
			a.item(t, depth+1)
		}
	case 7:
		a.line(depth, head, "%s", map[byte]string{0xf4: "false", 0xf5: "true", 0xf6: "null"}[head[0]])
	default:
		t.Fatalf("CBOR major type %d in a golden vector", major)
	}
}

// bytes opens a byte string that is itself a CBOR map or array.
func (a *annotator) bytes(t testing.TB, depth int, head []byte, n int) {
	content := a.take(n)
	if n > 40 && n != 64 && (content[0]>>5 == 5 || content[0]>>5 == 4) {
		a.line(depth, head, "%d bytes:", n)
		inner := &annotator{rest: content}
		inner.item(t, depth+1)
		a.out.WriteString(inner.out.String())
		return
	}
	a.line(depth, head, "%d bytes%s", n, nameOf(content))
	for len(content) > 0 {
		n := min(16, len(content))
		a.out.WriteString(strings.Repeat("  ", depth+1) + hex.EncodeToString(content[:n]) + "\n")
		content = content[n:]
	}
}

// nameOf tells whose key it is.
func nameOf(b []byte) string {
	for _, name := range append([]string{"P"}, cast...) {
		if k := pub(name); string(k[:]) == string(b) {
			return ": " + name
		}
	}
	if s := serverNamed("S"); string(s[:]) == string(b) {
		return ": server S"
	}
	if len(b) == 64 {
		return ": signature"
	}
	return ""
}

func (a *annotator) head() []byte {
	if extra := a.rest[0] & 0x1f; extra >= 24 && extra <= 27 {
		return a.take(1 + 1<<(extra-24))
	}
	return a.take(1)
}

func argument(head []byte) uint64 {
	if len(head) == 1 {
		return uint64(head[0] & 0x1f)
	}
	var v uint64
	for _, b := range head[1:] {
		v = v<<8 | uint64(b)
	}
	return v
}

// unannotate is the bytes of an annotated vector.
func unannotate(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.TrimSpace(line))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("golden vector is not hex: %v", err)
	}
	return b
}
