//go:build integration

package integration_test

import (
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m) }

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)
