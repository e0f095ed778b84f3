package lease

import (
	"bytes"
	"fmt"
)

// text is a CBOR text string of at most 23 bytes.
func text(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// mutateBody spells the map b otherwise. b has few fields, so its header is one
// byte that counts them.
func mutateBody(b []byte, mutation string) ([]byte, error) {
	count, fields := b[0], b[1:]
	switch mutation {
	case "":
		return b, nil
	case "unknown-field": // after all others in bytewise order
		return join([]byte{count + 1}, fields, text("zone-of-no-meaning"), []byte{1}), nil
	case "duplicate-field":
		return join([]byte{count + count - 0xa0}, fields, fields), nil
	case "unsorted":
		return join([]byte{count + 1}, text("signer-gets-lease"), []byte{0xf5}, fields), nil
	case "explicit-false":
		return join([]byte{count + 1}, fields, text("signer-gets-lease"), []byte{0xf4}), nil
	case "null-field":
		return join([]byte{count + 1}, text("until"), []byte{0xf6}, fields), nil
	case "long-integer":
		return join([]byte{count + 1}, text("space"), []byte{0x18, 9}, fields), nil
	case "float":
		return join([]byte{count + 1}, text("until"), []byte{0xf9, 0x7c, 0}, fields), nil
	case "tag":
		return join([]byte{count + 1}, text("until"), []byte{0xc1, 9}, fields), nil
	case "text-number":
		return join([]byte{count + 1}, text("until"), text("9"), fields), nil
	case "upper-case":
		return join([]byte{count + 1}, text("Until"), []byte{9}, fields), nil
	case "indefinite":
		return join([]byte{0xbf}, fields, []byte{0xff}), nil
	case "trailing":
		return join(b, []byte{0}), nil
	case "cut":
		return b[:len(b)-1], nil
	case "empty-map":
		return []byte{0xa0}, nil
	case "array":
		return []byte{0x80}, nil
	case "deep":
		return append(bytes.Repeat([]byte{0x81}, 64), 0), nil
	case "huge-array":
		return []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil
	case "short-key":
		return join([]byte{0xa1}, text("delegate-pubkey"), []byte{0x58, 31}, make([]byte, 31)), nil
	case "zero-key":
		return join([]byte{0xa1}, text("delegate-pubkey"), []byte{0x58, 32}, make([]byte, 32)), nil
	case "long-body":
		return join([]byte{count + 1}, fields, text("zz"), []byte{0x59, 0x20, 0}, make([]byte, 0x2000)), nil
	default:
		return nil, fmt.Errorf("unknown mutation %q", mutation)
	}
}
