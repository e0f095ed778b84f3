//go:build integration

package sim_test

import "testing"

// TestMomentsOfAThousand is TestMomentsOfAnonymousClients, and for a first start,
// with as many clients as a grid may have.
func TestMomentsOfAThousand(t *testing.T) {
	momentsOf(t, 1000, &crowd{rules: throughTor})
	momentsOf(t, 1000, &crowd{rules: throughTor, strange: true})
}
