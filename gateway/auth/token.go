package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	tokenPrefix = "slotd_" // lets scanners for leaked secrets find tokens
	tokenBytes  = 32       // of randomness: nobody guesses 256 bits, so a fast hash keeps them as well as a slow one
	hashPrefix  = "sha256:"

	maxTokens     = 4096
	maxTokenBytes = 512 // of a token that is sent; a longer one is not even hashed
)

// entry is one line of a token file.
type entry struct {
	hash [sha256.Size]byte
	id   Identity
}

// Tokens are the tokens of one state of a file. They never change, and hold no token, only hashes.
type Tokens struct{ entries []entry }

// Len is how many tokens there are.
func (t *Tokens) Len() int { return len(t.entries) }

// Identify returns whose token it is. It compares with all of them, each in constant time, so that the time it takes
// tells nothing about which hash was nearly right.
func (t *Tokens) Identify(token string) (Identity, bool) {
	if token == "" || len(token) > maxTokenBytes {
		return Identity{}, false
	}
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range t.entries {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], t.entries[i].hash[:]), i, found)
	}
	if found < 0 {
		return Identity{}, false
	}
	return t.entries[found].id, true
}

// newToken returns a token and the line of a file that stands for it, without its end.
func newToken(role Role, name string) (token, line string) {
	var random [tokenBytes]byte
	_, _ = rand.Read(random[:]) // never fails: a program that gets no randomness is ended
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	hash := sha256.Sum256([]byte(token))
	return token, strings.TrimRight(role.String()+" "+hashPrefix+hex.EncodeToString(hash[:])+" "+name, " ")
}

// parseTokens reads what a token file holds. Its errors name lines, and repeat nothing of them: whoever mistakes the
// format may have written the token itself.
func parseTokens(text []byte) (*Tokens, error) {
	t := &Tokens{}
	lineOf := make(map[[sha256.Size]byte]int)
	number := 0
	for line := range bytes.Lines(text) {
		number++
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		e, err := parseEntry(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if first, ok := lineOf[e.hash]; ok {
			return nil, fmt.Errorf("line %d: the same token as in line %d; one token has one role", number, first)
		}
		if len(t.entries) == maxTokens {
			return nil, fmt.Errorf("line %d: more than %d tokens", number, maxTokens)
		}
		lineOf[e.hash] = number
		t.entries = append(t.entries, e)
	}
	return t, nil
}

var errEntry = errors.New("must be `ROLE sha256:HASH [NAME]`, as `slotd token create` writes it")

func parseEntry(fields []string) (e entry, err error) {
	if len(fields) != 2 && len(fields) != 3 {
		return e, errEntry
	}
	if e.id.Role, err = ParseRole(fields[0]); err != nil {
		return e, errors.New("the role must be one of read, submit, admin")
	}
	digits, ok := strings.CutPrefix(fields[1], hashPrefix)
	hash, err := hex.DecodeString(digits)
	if !ok || err != nil || len(hash) != sha256.Size {
		return e, fmt.Errorf("the hash must be %s and %d hex digits", hashPrefix, 2*sha256.Size)
	}
	e.hash = [sha256.Size]byte(hash)
	if len(fields) == 3 {
		e.id.Name = fields[2]
	}
	return e, ValidateName(e.id.Name)
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// ValidateName says whether a token may be called so: at most 64 bytes that can stand in a log line. A token needs no name.
func ValidateName(name string) error {
	if name != "" && !tokenName.MatchString(name) {
		return errors.New("the name must be 1 to 64 of A-Z, a-z, 0-9, '.', '_', '@' and '-', and begin with a letter or digit")
	}
	return nil
}
