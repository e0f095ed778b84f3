//go:build integration

package privacy

import "testing"

// TestAThousandUnlinkable is TestUnlinkable with as many clients as a grid may
// have. It takes long enough for idle connections to be asked whether they live.
func TestAThousandUnlinkable(t *testing.T) { unlinkable(t, 1000, false) }
