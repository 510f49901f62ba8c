package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slotd/messages"
)

// FuzzTags: a tag is recognised in every header it stands in, strongly for If-Match and weakly for If-None-Match, and
// nothing else ever matches a version.
func FuzzTags(f *testing.F) {
	for _, c := range []struct {
		header  string
		version uint64
	}{
		{`"1"`, 1},
		{`W/"1"`, 1},
		{`*`, 1},
		{`"0", W/"1" ,"2"`, 2},
		{`"01"`, 1},
		{`1`, 1},
		{`"+1"`, 1},
		{`"18446744073709551616"`, 0},
		{`""`, 0},
		{`"1`, 1},
		{`"a,1"`, 1},
		{`,,,`, 0},
		{`W/*`, 7},
		{`w/"1"`, 1},
		{"\"1\"\x00", 1},
		{`"`, 0},
	} {
		f.Add(c.header, c.version)
	}
	f.Fuzz(func(t *testing.T, header string, version uint64) {
		tag := `"` + strconv.FormatUint(version, 10) + `"`
		strong, weak := false, false
		for part := range strings.SplitSeq(header, ",") {
			part = strings.TrimSpace(part)
			strong = strong || part == "*" || part == tag
			weak = weak || part == "*" || part == tag || part == "W/"+tag
		}
		versions, every := versionsIn([]string{header})
		if got := every || slices.Contains(versions, version); got != strong {
			t.Errorf("If-Match: %q matches %s: %v", header, tag, got)
		}
		if got := namesTag([]string{header}, etag(version)); got != weak {
			t.Errorf("If-None-Match: %q names %s: %v", header, tag, got)
		}
		if len(versions) > strings.Count(header, ",")+1 {
			t.Errorf("%q names %d", header, versions)
		}
		slices.Sort(versions)
		if len(slices.Compact(slices.Clone(versions))) != len(versions) {
			t.Errorf("%q: %d has repeats", header, versions)
		}
	})
}

// FuzzIdempotencyKey: the key that counts is one that was sent, all that were sent are the same, and a refusal does not
// repeat them.
func FuzzIdempotencyKey(f *testing.F) {
	f.Add("", "", "", uint8(0))
	f.Add("key-one", "key-one", "key-one", uint8(7))
	f.Add("key-one", "key-two", "", uint8(3))
	f.Add("", "key-two", "", uint8(3))
	f.Add("key-one", "key-two", "key-two", uint8(6))
	f.Add("\xff", "\xff", strings.Repeat("k", 256), uint8(5))
	f.Fuzz(func(t *testing.T, field, first, second string, given uint8) {
		var sent []string
		var inBody *string
		if given&1 != 0 {
			inBody, sent = &field, append(sent, field)
		}
		header := http.Header{}
		for i, value := range []string{first, second} {
			if given&(2<<i) != 0 {
				header.Add(keyHeader, value)
				sent = append(sent, value)
			}
		}
		key, err := idempotencyKey(header, inBody)
		same := len(slices.Compact(slices.Clone(sent))) <= 1
		if (err == nil) != same || err != nil && key != nil {
			t.Fatalf("%q: %v, %v", sent, key, err)
		}
		if err != nil {
			label, message, _, known := explain(err)
			if !known || label != messages.LabelInvalidRequest || !strings.Contains(message, "idempotency_key") {
				t.Fatalf("%q: explained as %s %q", sent, label, message)
			}
			return
		}
		if (key == nil) != (len(sent) == 0) || key != nil && *key != sent[0] {
			t.Fatalf("%q: %v", sent, key)
		}
	})
}

func FuzzEventQuery(f *testing.F) {
	for _, c := range [][2]string{
		{"", ""},
		{"slot=a&task=tsk_1&label=a%3Db&label=!c", "1-2"},
		{"slot=", ""},
		{"task=", "x"},
		{"slot=a&slot=b", ""},
		{"slot=%00&x=1", ""},
		{"label=a+in+(b", ""},
		{"label=a&label=,", ""},
		{"task=%ff", "\xff"},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, raw, after string) {
		q, err := eventQuery(withQuery(raw, after))
		if err != nil {
			refusedWell(t, raw, err)
			return
		}
		if q.After != after || q.Slot != "" && messages.ValidateSlot(q.Slot) != nil {
			t.Fatalf("%q: %+v", raw, q)
		}
		if again, err := messages.ParseSelector(q.Selector.String()); err != nil || again.String() != q.Selector.String() {
			t.Fatalf("%q: the selector %q reads back as %q, %v", raw, q.Selector, again, err)
		}
	})
}
