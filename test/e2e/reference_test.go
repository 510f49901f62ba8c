package e2e

import (
	"context"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"slotd/test/need"
)

// browser starts Chromium, for which no address exists but this machine's loopback. see is called for its events.
func browser(t *testing.T, see func(event any)) context.Context {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	need.That(t, program != "", "Chromium (Debian's chromium-headless-shell)")
	ctx, cancel := context.WithTimeout(contextOf(t), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("no-proxy-server", true))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(see))
	t.Cleanup(cancel)
	return ctx
}

// visit is what a page has done.
type visit struct {
	mu        sync.Mutex
	requested []string // addresses
	problems  []string // exceptions, and what the browser refused
}

func (v *visit) see(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		v.requested = append(v.requested, event.Request.URL)
	case *log.EventEntryAdded: //nolint:forbidigo // what the browser logs is what is looked for
		v.problems = append(v.problems, event.Entry.Text+" "+event.Entry.URL) //nolint:forbidigo // the same
	case *runtime.EventExceptionThrown:
		v.problems = append(v.problems, event.ExceptionDetails.Text)
	}
}

// The page shows every operation, sends a request when it is told to, and asks nobody but its own server for anything.
func TestTheReferenceIsRenderedWithoutAnyOtherServer(t *testing.T) {
	t.Parallel()
	var v visit
	ctx := browser(t, v.see)
	d := serve(t)
	const operation = "#operations-node-getVersion"
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			t.Fatalf("%s: %v; the page asked for %q; problems: %q", what, err, v.requested, v.problems)
		}
	}
	must("open the page", chromedp.Do(ctx, chromedp.Navigate("http://"+d.http+"/docs"), chromedp.WaitVisible(operation)))
	title, err := chromedp.Run(ctx, chromedp.Title())
	must("title", err)
	text, err := chromedp.Run(ctx, chromedp.Text("#reference"))
	must("text", err)
	must("send a request", chromedp.Do(ctx,
		chromedp.Click(operation+" .opblock-summary-control"),
		chromedp.Click(operation+" .try-out__btn"),
		chromedp.Click(operation+" .execute"),
	))
	answer, err := chromedp.Run(ctx, chromedp.Text(operation+" .live-responses-table .response .microlight"))
	must("read the answer", err)
	v.mu.Lock()
	defer v.mu.Unlock()
	if title != "slotd API" {
		t.Errorf("title %q", title)
	}
	for _, part := range []string{"Submit a task", "/api/v1/tasks/{id}/logs", "Follow the transitions of tasks and slots", "OAS 3.1"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not show %q", part)
		}
	}
	if !strings.Contains(answer, `"solti.v1"`) {
		t.Errorf("the version is shown as %q", answer)
	}
	for _, address := range v.requested {
		if u, err := url.Parse(address); err != nil || u.Scheme != "data" && u.Host != d.http {
			t.Errorf("the page asked for %s", address)
		}
	}
	if len(v.requested) < 6 {
		t.Errorf("the page asked only for %q", v.requested)
	}
	for _, problem := range v.problems {
		t.Errorf("the browser says: %s", problem)
	}
}
