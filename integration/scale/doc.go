// Package scale holds what a node is when it has many connections: what each of a
// thousand servers costs it, how soon it is back, what is left after servers have
// come and gone for a while, and that one which sends what is no frame, or
// nothing, holds up no other. All of it goes over real libp2p on loopback.
package scale
