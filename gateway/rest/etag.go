package rest

import (
	"slices"
	"strconv"
	"strings"
)

// etag is a task's resource version as an entity tag.
func etag(version uint64) string {
	return `"` + strconv.FormatUint(version, 10) + `"`
}

// namesTag says whether If-None-Match names a tag. The comparison is weak: W/ makes no difference.
func namesTag(headers []string, etag string) bool {
	for _, header := range headers {
		for tag := range strings.SplitSeq(header, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// versionsIn returns the versions that If-Match names, and whether it is satisfied with every version. The comparison
// is strong: weak tags, and tags that are no version, match nothing.
func versionsIn(headers []string) (versions []uint64, every bool) {
	for _, header := range headers {
		for tag := range strings.SplitSeq(header, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" {
				return nil, true
			}
			if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
				continue
			}
			n, err := strconv.ParseUint(tag[1:len(tag)-1], 10, 64)
			if err == nil && etag(n) == tag && !slices.Contains(versions, n) {
				versions = append(versions, n)
			}
		}
	}
	return versions, false
}
