package main

import (
	"runtime"
	"testing"
)

func TestAfterEachCollection(t *testing.T) {
	called := make(chan struct{}, 100)
	afterEachCollection(func() { called <- struct{}{} })
	for range 3 {
		runtime.GC()
		<-called
	}
}

func TestMemoryLimitFollowsUse(t *testing.T) {
	for live, want := range map[int64]int64{0: 40 << 20, 20 << 20: 40 << 20, 100 << 20: 131 << 20} {
		if got := limitFor(live); got != want {
			t.Errorf("with %d bytes in use the limit is %d, want %d", live, got, want)
		}
	}
	ballast := make([]byte, 64<<20)
	runtime.GC()
	if live := liveHeap(); live < 64<<20 || live > 500<<20 {
		t.Errorf("%d bytes are in use", live)
	}
	runtime.KeepAlive(ballast)
}
