package backup

import (
	"os"
	"syscall"
)

// changeTime is when content or attributes last changed, which no program can
// set back.
func changeTime(info os.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ctim.Nano()
	}
	return 0
}
