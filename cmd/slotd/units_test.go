package main

import (
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]uint64{
		"1": 1, "4096": 4096, "10b": 10, "1k": 1024, "1K": 1024, "2m": 2 << 20, "64MiB": 64 << 20, "10GiB": 10 << 30,
		"1.5g": 3 << 29, "1 GB": 1e9, "2kb": 2000, "1T": 1 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "k", "1.5", "1x", "1ki", "0.0001k", "1e3", "1e3k", "0x1p4k", "+1k", "NaNk", "1eg", "99999999t", "9223372036854775808", "0x10"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestParseDurationAndCPUs(t *testing.T) {
	if d, err := parseDuration("1h30m"); err != nil || d != 90*time.Minute {
		t.Errorf("got %v, %v", d, err)
	}
	for _, text := range []string{"", "5", "-1s", "1d"} {
		if _, err := parseDuration(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
	if got := millis(1500 * time.Microsecond); got != 2 {
		t.Errorf("got %d ms, want a started one counted", got)
	}
	if got := millis(1<<63 - 1); got != 9223372036855 {
		t.Errorf("got %d ms of the longest duration", got)
	}
	for text, want := range map[string]uint64{"1.5": 1500, "2": 2000, "0.001": 1} {
		if got, err := parseCPUs(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-1", "NaN", "Inf", "x", "0.0001"} {
		if _, err := parseCPUs(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestAge(t *testing.T) {
	for _, tc := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0s"},
		{999 * time.Millisecond, "0s"},
		{119 * time.Second, "119s"},
		{2 * time.Minute, "2m0s"},
		{10 * time.Minute, "10m"},
		{3*time.Hour + 5*time.Minute, "3h5m"},
		{47 * time.Hour, "47h"},
		{48 * time.Hour, "2d"},
	} {
		if got := age(tc.d); got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.d, got, tc.want)
		}
	}
}
