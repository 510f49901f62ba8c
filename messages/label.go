package messages

import (
	"fmt"
	"strings"
)

// Kubernetes label syntax, https://kubernetes.io/docs/concepts/overview/working-with-objects/labels: a key is an
// optional DNS subdomain and a slash, then a name; a value is empty or formed like a name.
const (
	maxLabelName   = 63
	maxLabelPrefix = 253
)

// badLabelKey says which rule a label's key breaks, or nothing.
func badLabelKey(key string) string {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		name = key
	}
	switch {
	case key == "":
		return "the key cannot be empty"
	case prefixed && !dnsSubdomain(prefix):
		return fmt.Sprintf("the part of the key before '/' must be a DNS subdomain: at most %d bytes of a-z, 0-9, '-' and '.', each part with an alphanumeric at both ends", maxLabelPrefix)
	case name == "" || !labelName(name):
		return fmt.Sprintf("the key's name must be 1 to %d bytes of A-Z, a-z, 0-9, '-', '_' and '.', with an alphanumeric at both ends", maxLabelName)
	default:
		return ""
	}
}

// badLabelValue says which rule a label's value breaks, or nothing.
func badLabelValue(value string) string {
	if value == "" || labelName(value) {
		return ""
	}
	return fmt.Sprintf("the value must be empty or at most %d bytes of A-Z, a-z, 0-9, '-', '_' and '.', with an alphanumeric at both ends", maxLabelName)
}

func labelName(s string) bool {
	if len(s) > maxLabelName {
		return false
	}
	for _, r := range s {
		if !slotRune(r) {
			return false
		}
	}
	return alphanumeric(rune(s[0])) && alphanumeric(rune(s[len(s)-1]))
}

// dnsSubdomain: RFC 1123, lower case.
func dnsSubdomain(s string) bool {
	if len(s) > maxLabelPrefix {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for _, r := range part {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
				return false
			}
		}
	}
	return true
}
