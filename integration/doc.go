// Package integration is what Tarn shows of itself from outside: real
// processes of the built program, on loopback, against the sentences of its
// issues. It has tests only, behind the build tag "integration", since they
// need more than Go: Linux, some minutes, and root for mounts.
//
// The packages below it: nodes starts grids of processes, tahoe compares with
// a real Tahoe-LAFS, bench measures both, sim is the simulated grid, which
// needs Go alone.
//
// Whatever takes longer than a few seconds is smaller unless TARN_BIG=1 is
// set; TARN_PROGRAM names a program to test instead of building one.
package integration
