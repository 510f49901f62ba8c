package rest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"regexp"
	"strings"
	"testing"

	"slotd/gateway/rest"
)

func TestTheReferenceIsServedWhole(t *testing.T) {
	n := start(t, rest.Config{})
	page := n.do("GET", "/docs", "")
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d, type %s", page.status, page.header.Get("Content-Type"))
	}
	kinds := map[string]string{"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
	assets := regexp.MustCompile(`(?:href|src)="([^"]+)"`).FindAllStringSubmatch(page.body, -1)
	served := 0
	for _, asset := range assets {
		address := asset[1]
		if address == "data:," || address == "openapi.json" {
			continue
		}
		if !strings.HasPrefix(address, "docs/") {
			t.Errorf("the page asks for %s, which this server does not serve", address)
			continue
		}
		served++
		got := n.do("GET", "/"+address, "")
		want := kinds[address[strings.LastIndexByte(address, '.')+1:]]
		if got.status != 200 || got.body == "" || got.header.Get("Content-Type") != want {
			t.Errorf("%s: got %d, %d bytes, type %s, want type %s", address, got.status, len(got.body), got.header.Get("Content-Type"), want)
		}
	}
	if served != 3 {
		t.Errorf("the page has %d assets, want a style sheet and two scripts", served)
	}
	if inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script>`).FindString(page.body); inline != "" {
		t.Errorf("the page has %q, which its policy forbids", inline)
	}
	n.do("GET", "/docs?x=1", "").refuses(t, 400, "InvalidRequest", "unknown parameter")
	for _, name := range []string{"", "page.html", "nothing.js", "nothing", "..%2Fopenapi.yaml", "%2E%2E", "swagger-ui.css.gz", "reference%2Fstart.js"} {
		n.do("GET", "/docs/"+name, "").refuses(t, 404, "NotFound", "there is nothing at /docs/")
	}
}

func TestThePageMayUseThisServerAndNothingElse(t *testing.T) {
	n := start(t, rest.Config{})
	for _, path := range []string{"/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/licenses.txt"} {
		policy := make(map[string]string)
		for directive := range strings.SplitSeq(n.do("GET", path, "").header.Get("Content-Security-Policy"), ";") {
			name, sources, _ := strings.Cut(strings.TrimSpace(directive), " ")
			policy[name] = sources
		}
		for name, want := range map[string]string{
			"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'", "img-src": "'self' data:",
			"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
		} {
			if policy[name] != want {
				t.Errorf("%s: %s is %q, want %q", path, name, policy[name], want)
			}
		}
		if len(policy) != 8 {
			t.Errorf("%s: the policy has more than was thought about: %v", path, policy)
		}
	}
}

// The sums are those of the files in the npm package.
func TestTheRendererIsAsItWasPublished(t *testing.T) {
	n := start(t, rest.Config{})
	for name, want := range map[string]string{
		"swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
		"swagger-ui.css":       "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
	} {
		plain := n.do("GET", "/docs/"+name, "")
		packed := n.do("GET", "/docs/"+name, "", "Accept-Encoding: br, gzip")
		if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: Content-Encoding %q and %q", name, plain.header.Get("Content-Encoding"), packed.header.Get("Content-Encoding"))
		}
		r, err := gzip.NewReader(bytes.NewReader([]byte(packed.body)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{plain.body, string(text)} {
			sum := sha256.Sum256([]byte(body))
			if got := hex.EncodeToString(sum[:]); got != want {
				t.Errorf("%s: sha256 %s, want %s", name, got, want)
			}
		}
		for _, c := range []struct {
			encoding, etag string
			status         int
		}{
			{"gzip", packed.header.Get("ETag"), 304},
			{"identity", plain.header.Get("ETag"), 304},
			{"gzip", plain.header.Get("ETag"), 200},
			{"gzip;q=0", packed.header.Get("ETag"), 200},
		} {
			if got := n.do("GET", "/docs/"+name, "", "Accept-Encoding: "+c.encoding, "If-None-Match: "+c.etag); got.status != c.status {
				t.Errorf("%s, %s, If-None-Match %s: got %d, want %d", name, c.encoding, c.etag, got.status, c.status)
			}
		}
	}
}
