//go:build !linux

package store

import "github.com/cockroachdb/pebble/v2/vfs"

// dropFromCache is advice that only Linux takes.
func dropFromCache(vfs.File, int64) {}
