package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn"
)

// relaySettings are the section relay.
type relaySettings struct {
	Listen   []string `yaml:"listen"`
	Announce []string `yaml:"announce"`

	Reservations           int    `yaml:"reservations"`
	ReservationsPerAddress int    `yaml:"reservations-per-address"`
	Circuits               int    `yaml:"circuits"`
	CircuitsPerServer      int    `yaml:"circuits-per-server"`
	CircuitsPerAddress     int    `yaml:"circuits-per-address"`
	Data                   string `yaml:"data"`
	Time                   string `yaml:"time"`
	CircuitTime            string `yaml:"circuit-time"`
}

// anyRelay stands in storage.relays for those that introducers know.
const anyRelay = "auto"

func defaultRelaySettings() *relaySettings {
	l := tarn.RelayLimits{}.WithDefaults()
	return &relaySettings{
		Reservations: l.Reservations, ReservationsPerAddress: l.ReservationsPerAddress,
		Circuits: l.Circuits, CircuitsPerServer: l.CircuitsPerServer, CircuitsPerAddress: l.CircuitsPerAddress,
		Data: defaultRelayData, Time: "1h", CircuitTime: "1d",
	}
}

// leastRelayTime is what a server needs to renew its slot in good time.
const leastRelayTime = 10 * time.Minute

// limits reads them; what is not set is the default.
func (s *relaySettings) limits() (tarn.RelayLimits, error) {
	l := tarn.RelayLimits{
		Reservations: s.Reservations, ReservationsPerAddress: s.ReservationsPerAddress,
		Circuits: s.Circuits, CircuitsPerServer: s.CircuitsPerServer, CircuitsPerAddress: s.CircuitsPerAddress,
	}
	for _, n := range []int{l.Reservations, l.ReservationsPerAddress, l.Circuits, l.CircuitsPerServer, l.CircuitsPerAddress} {
		if n < 0 || n > 1<<16 {
			return l, fmt.Errorf("a limit of %d (want at most %d, 0 for the default)", n, 1<<16)
		}
	}
	if s.Data != "" {
		data, err := parseSize(s.Data)
		if err != nil {
			return l, fmt.Errorf("data: %w", err)
		}
		if l.Data = data; l.Data <= 0 {
			return l, errors.New("data: a relay that passes nothing on is none")
		}
	}
	for _, d := range []struct {
		name, text string
		into       *time.Duration
	}{{"time", s.Time, &l.Time}, {"circuit-time", s.CircuitTime, &l.CircuitTime}} {
		if d.text == "" {
			continue
		}
		length, ok := parseDuration(d.text)
		if !ok || length < leastRelayTime || length > 365*24*time.Hour {
			return l, fmt.Errorf("%s: %q (want one such as 1h, at least %v)", d.name, d.text, leastRelayTime)
		}
		*d.into = length
	}
	return l, nil
}

// config makes the key of a relay whose section was written by hand.
func (s *relaySettings) config(f folder) (*tarn.RelayConfig, error) {
	if err := checkListen(s.Listen); err != nil {
		return nil, f.wrong("relay.listen", err)
	}
	if err := checkAnnounce(s.Announce); err != nil {
		return nil, f.wrong("relay.announce", err)
	}
	limits, err := s.limits()
	if err != nil {
		return nil, f.wrong("relay", err)
	}
	key, err := f.ownKey(relayKeyFile)
	return &tarn.RelayConfig{Listen: s.Listen, Announce: hints(s.Announce), Key: key, Limits: limits}, err
}

// storageRelays reads storage.relays; none is a server that everybody can dial.
func storageRelays(texts []string) (*tarn.StorageRelays, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	r := &tarn.StorageRelays{}
	for _, text := range texts {
		if text == anyRelay {
			r.Offered = true
			continue
		}
		ref, err := tarn.ParseRelayRef(text)
		if err != nil {
			return nil, fmt.Errorf("%w (or %s for those that introducers know)", err, anyRelay)
		}
		r.Named = append(r.Named, ref)
	}
	return r, nil
}
