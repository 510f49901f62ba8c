package client

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// FuzzPlainChunk: the fast way of reading a chunk never says anything else than encoding/json.
func FuzzPlainChunk(f *testing.F) {
	const chunk = `{"type":"chunk","attempt":1,"stream":"stderr","seq":12,"ts":1712750400123,"line":"hi there é"}`
	for _, data := range []string{
		chunk,
		strings.Replace(chunk, `"}`, `","truncated":true}`, 1),
		strings.Replace(chunk, `"}`, `","truncated":false}`, 1),
		strings.Replace(chunk, "hi", `\"\\\n`, 1),
		strings.Replace(chunk, "hi", "\xff", 1),
		strings.Replace(chunk, "hi", "\x01", 1),
		strings.Replace(chunk, `:12`, `:012`, 1),
		strings.Replace(chunk, `:12`, `:99999999999999999999`, 1),
		strings.Replace(chunk, `:1,`, `:4294967296,`, 1),
		strings.Replace(chunk, `:1,`, `:-1,`, 1),
		chunk + " ", chunk + "x", chunk[:40], "", `{"type":"lagged","skipped":1}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := plainChunk(data)
		if !ok {
			return
		}
		var slow event
		if err := json.Unmarshal(data, &slow); err != nil {
			t.Fatalf("%q was read, but it is no JSON: %v", data, err)
		}
		if diff := cmp.Diff(slow.proto("").GetChunk(), fast, protocmp.Transform()); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	})
}

func TestPlainChunkReadsWhatDaemonsWrite(t *testing.T) {
	for _, data := range []string{
		`{"type":"chunk","attempt":1,"stream":"stdout","seq":0,"ts":1712750400123,"line":""}`,
		`{"type":"chunk","attempt":7,"stream":"stderr","seq":3,"ts":5,"line":"x","truncated":true}`,
	} {
		if _, ok := plainChunk([]byte(data)); !ok {
			t.Errorf("%s: was left to encoding/json", data)
		}
	}
}
