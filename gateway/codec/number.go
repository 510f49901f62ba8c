package codec

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// numeral reads a number, or a string that holds nothing but one, and returns its text; false = neither.
func (d *decoder) numeral() (string, bool, error) {
	switch d.kind() {
	case '0':
		s, err := d.number()
		return s, err == nil, err
	case '"':
		s, err := d.text()
		if err != nil {
			return "", false, err
		}
		inner := scanner{data: []byte(s)}
		if _, err := inner.number(); err != nil || inner.pos != len(s) {
			return s, false, nil //nolint:nilerr // a string that is no number is a value of the wrong type, not malformed JSON
		}
		return s, true, nil
	}
	return "", false, nil
}

func (d *decoder) signed(bits int) (int64, error) {
	expected := "an integer from -2147483648 to 2147483647"
	if bits == 64 {
		expected = "an integer from -9223372036854775808 to 9223372036854775807"
	}
	s, err := d.integer(expected)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		return 0, &Error{Problem: "expected " + expected + ", found another number"}
	}
	return n, nil
}

func (d *decoder) unsigned(bits int) (uint64, error) {
	expected := "an integer from 0 to 4294967295"
	if bits == 64 {
		expected = "an integer from 0 to 18446744073709551615"
	}
	s, err := d.integer(expected)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, &Error{Problem: "expected " + expected + ", found another number"}
	}
	return n, nil
}

// integer reads a number that has no fraction and returns it without point and exponent: 1.50e2 is 150.
func (d *decoder) integer(expected string) (string, error) {
	quotedNumber := d.kind() == '"'
	start := d.pos
	s, ok, err := d.numeral()
	switch {
	case err != nil:
		return "", err
	case !ok && quotedNumber:
		return "", &Error{Problem: "expected " + expected + ", found a string that is not a number"}
	case !ok:
		d.pos = start
		return "", d.mismatch(expected)
	}
	if strings.ContainsAny(s, ".eE") {
		if s, ok = integral(s); !ok {
			return "", &Error{Problem: "expected " + expected + ", found another number"}
		}
	}
	return s, nil
}

// integral rewrites a JSON number as plain digits, or returns false when it has a fraction or more digits than any
// integer kind.
func integral(s string) (string, bool) {
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if err != nil {
			return "", false
		}
		exponent, s = n, s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	const most = 20 // digits of the greatest uint64
	switch {
	case trimmed == "":
		return sign + "0", true
	case exponent < 0, exponent > most, len(trimmed)+exponent > most:
		return "", false
	}
	return sign + trimmed + strings.Repeat("0", exponent), true
}

func (d *decoder) double() (protoreflect.Value, error) {
	const expected = "a number"
	start := d.pos
	isText := d.kind() == '"'
	s, ok, err := d.numeral()
	if err != nil {
		return protoreflect.Value{}, err
	}
	if !ok {
		switch {
		case !isText:
			d.pos = start
			return protoreflect.Value{}, d.mismatch(expected)
		case s == "NaN":
			return protoreflect.ValueOfFloat64(math.NaN()), nil
		case s == "Infinity":
			return protoreflect.ValueOfFloat64(math.Inf(1)), nil
		case s == "-Infinity":
			return protoreflect.ValueOfFloat64(math.Inf(-1)), nil
		}
		return protoreflect.Value{}, &Error{Problem: "expected " + expected + ", found a string that is not a number"}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return protoreflect.Value{}, &Error{Problem: "expected " + expected + " within the range of a double"}
	}
	return protoreflect.ValueOfFloat64(f), nil
}
