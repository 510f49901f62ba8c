package messages

import (
	"fmt"
	"strings"
)

// ParseSelector reads Kubernetes label selector syntax:
//
//	selector    = [ requirement { "," requirement } ]
//	requirement = key | "!" key | key ( "=" | "==" | "!=" ) value | key ( "in" | "notin" ) "(" value { "," value } ")"
//
// Keys and values are labels, values may be empty, white space may stand between any two words. The empty string takes
// everything. The error is an [InvalidError] that says at which byte, counted from 1, what was found and what was
// expected.
func ParseSelector(s string) (Selector, error) {
	p := selectorParser{text: s}
	p.advance()
	if p.tok == endToken {
		return Selector{}, nil
	}
	var reqs []requirement
	for {
		r, err := p.requirement()
		if err != nil {
			return Selector{}, &InvalidError{Problems: []string{"label_selector: " + err.Error()}}
		}
		reqs = append(reqs, r)
		if p.tok == endToken {
			return Selector{requirements: reqs}, nil
		}
		p.advance() // the comma
	}
}

// token is one word of a selector: a mark as it is written, or one of the two below.
type token string

const (
	wordToken token = "word"
	endToken  token = "end"
)

// selectorParser looks at one token at a time: tok, which spells word and begins at the byte at.
type selectorParser struct {
	text string
	next int // the byte after the token
	tok  token
	word string
	at   int
}

const (
	selectorSpace = " \t\r\n"
	selectorMarks = "=!(),<>"
)

func (p *selectorParser) advance() {
	for p.next < len(p.text) && strings.IndexByte(selectorSpace, p.text[p.next]) >= 0 {
		p.next++
	}
	p.at = p.next
	rest := p.text[p.next:]
	switch {
	case rest == "":
		p.tok = endToken
	case strings.HasPrefix(rest, "==") || strings.HasPrefix(rest, "!="):
		p.tok = token(rest[:2])
		p.next += 2
	case strings.IndexByte(selectorMarks, rest[0]) >= 0:
		p.tok = token(rest[:1])
		p.next++
	default:
		p.tok = wordToken
		if end := strings.IndexAny(rest, selectorSpace+selectorMarks); end >= 0 {
			rest = rest[:end]
		}
		p.next += len(rest)
	}
	p.word = p.text[p.at:p.next]
}

func (p *selectorParser) expected(what string) error {
	found := quote(p.word)
	if p.tok == endToken {
		found = "the end"
	}
	return fmt.Errorf("at position %d: found %s, expected %s", p.at+1, found, what)
}

// requirement reads up to the comma or the end that follows it.
func (p *selectorParser) requirement() (requirement, error) {
	absent := p.tok == "!"
	if absent {
		p.advance()
	}
	key, err := p.key()
	if err != nil {
		return requirement{}, err
	}
	r := requirement{key: key, op: exists}
	if absent {
		r.op = doesNotExist
		return r, p.separator("',' or the end after '!" + key + "'")
	}
	switch {
	case p.tok == endToken || p.tok == ",":
		return r, nil
	case p.tok == "=" || p.tok == "==":
		r.op = in
		r.values, err = p.oneValue()
	case p.tok == "!=":
		r.op = notIn
		r.values, err = p.oneValue()
	case p.tok == wordToken && p.word == "in":
		r.op = in
		r.values, err = p.valueSet()
	case p.tok == wordToken && p.word == "notin":
		r.op = notIn
		r.values, err = p.valueSet()
	default:
		return requirement{}, p.expected("'=', '==', '!=', 'in', 'notin', ',' or the end after the key " + quote(key))
	}
	if err != nil {
		return requirement{}, err
	}
	return r, p.separator("',' or the end")
}

func (p *selectorParser) separator(what string) error {
	if p.tok == "," || p.tok == endToken {
		return nil
	}
	return p.expected(what)
}

func (p *selectorParser) key() (string, error) {
	if p.tok != wordToken {
		return "", p.expected("a label key")
	}
	key := p.word
	if bad := badLabelKey(key); bad != "" {
		return "", fmt.Errorf("at position %d: %s, not %s", p.at+1, bad, quote(key))
	}
	p.advance()
	return key, nil
}

// oneValue reads the operator and the value after it, which may be empty.
func (p *selectorParser) oneValue() ([]string, error) {
	p.advance()
	value, err := p.value()
	return []string{value}, err
}

// value reads a word, or nothing where a mark or the end follows.
func (p *selectorParser) value() (string, error) {
	if p.tok != wordToken {
		return "", nil
	}
	value := p.word
	if bad := badLabelValue(value); bad != "" {
		return "", fmt.Errorf("at position %d: %s, not %s", p.at+1, bad, quote(value))
	}
	p.advance()
	return value, nil
}

// valueSet reads the operator and the parenthesis after it.
func (p *selectorParser) valueSet() ([]string, error) {
	p.advance()
	if p.tok != "(" {
		return nil, p.expected("'(' and a list of values")
	}
	p.advance()
	if p.tok == ")" {
		return nil, p.expected("a value: a set cannot be empty")
	}
	var values []string
	for {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		switch p.tok {
		case ",":
			p.advance()
		case ")":
			p.advance()
			return set(values), nil
		default:
			return nil, p.expected("',' or ')'")
		}
	}
}
