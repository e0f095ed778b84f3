package memnode

import (
	"context"
	"fmt"

	"github.com/tarn-grid/tarn"
)

// Health is what checks are to find.
type Health struct {
	// Checks is what there is of each capability.
	Checks map[string]tarn.CheckResult
	// Repairs is what becomes of each.
	Repairs map[string]tarn.RepairResult
	// Asked are the options of all checks and repairs so far, without Progress.
	Asked []tarn.CheckOptions
}

// Check is what Health says, after progress half-way.
func (n *Node) Check(_ context.Context, capability string, o tarn.CheckOptions, how ...tarn.Option) (tarn.CheckResult, error) {
	return checked(n, n.Health.Checks, capability, o, how)
}

// Repair is what Health says, after progress half-way.
func (n *Node) Repair(_ context.Context, capability string, o tarn.CheckOptions, how ...tarn.Option) (tarn.RepairResult, error) {
	return checked(n, n.Health.Repairs, capability, o, how)
}

func checked[R any](n *Node, of map[string]R, capability string, o tarn.CheckOptions, how []tarn.Option) (R, error) {
	n.noteAuthority(how)
	if o.Progress != nil {
		o.Progress(1, 2)
		o.Progress = nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Health.Asked = append(n.Health.Asked, o)
	result, ok := of[capability]
	if !ok {
		return result, fmt.Errorf("%w: nobody said how it is", tarn.ErrCap)
	}
	return result, nil
}
