package lease

import "strings"

// Operation is a set of things that may be done at a server:
// OpUpload|OpRenewLease. Reading is none of them: it needs no more than the
// storage index. The bits are signed and stored: they are never reused.
type Operation uint16

// The operations.
const (
	OpUpload Operation = 1 << iota
	OpAddLease
	OpRenewLease
	OpCancelLease
	OpEnumerate
	OpReadUsage
	OpMutate
)

// AllOperations is what a missing operation field means: these seven. One
// that is added later will not be part of it, or certificates that are out
// already would come to grant more than their signers knew.
const AllOperations = OpUpload | OpAddLease | OpRenewLease | OpCancelLease | OpEnumerate | OpReadUsage | OpMutate

var operationNames = []string{"upload", "add-lease", "renew-lease", "cancel-lease", "enumerate", "read-usage", "mutate"}

// Has reports whether all of want are in the set.
func (o Operation) Has(want Operation) bool { return o&want == want }

// String is the names with commas, upload,renew-lease; or none.
func (o Operation) String() string {
	var names []string
	for i, name := range operationNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if o&^AllOperations != 0 {
		names = append(names, "unknown")
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// ParseOperation reads what String writes, in any order.
func ParseOperation(s string) (Operation, error) {
	if s == "none" {
		return 0, nil
	}
	var set Operation
	for word := range strings.SplitSeq(s, ",") {
		op, ok := operationNamed(strings.TrimSpace(word))
		if !ok {
			return 0, malformed("unknown operation %q (know %s)", word, strings.Join(operationNames, ", "))
		}
		set |= op
	}
	return set, nil
}

func operationNamed(word string) (Operation, bool) {
	for i, name := range operationNames {
		if name == word {
			return 1 << i, true
		}
	}
	return 0, false
}
