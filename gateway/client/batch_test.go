package client_test

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	"slotd/gateway/client"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

func TestABatchHasAResultForEachSpec(t *testing.T) {
	specs := []*soltiv1.CreateSpec{{Slot: "a"}, {Slot: "b"}, {Slot: "c"}}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var got slotdv1.SubmitTasksRequest
		if err := protojson.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(specs, got.GetSpecs(), protocmp.Transform()); diff != "" || r.URL.Path != "/api/v1/tasks/batch" {
			t.Errorf("%s: %s", r.URL.Path, diff)
		}
		write(t, w, `{"results":[{"taskId":"tsk_1"},{"error":"SlotBusy","message":"slot \"b\" is busy"},{"taskId":"tsk_2"}]}`)
	})
	got, err := c.SubmitBatch(t.Context(), specs)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	if got[0].ID != "tsk_1" || got[2].ID != "tsk_2" || got[0].Err != nil || got[2].Err != nil {
		t.Errorf("got %v", got)
	}
	if got[1].ID != "" || !errors.Is(got[1].Err, client.ErrSlotBusy) || got[1].Err.Error() != `slot "b" is busy` {
		t.Errorf("got %v", got[1])
	}
}

func TestABatchIsSentOnceAndAnsweredWhole(t *testing.T) {
	var sent atomic.Int32
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if sent.Add(1) == 1 {
			cutOff(t, w)
			return
		}
		write(t, w, `{"results":[{"taskId":"tsk_1"}]}`)
	})
	specs := make([]*soltiv1.CreateSpec, 2)
	if _, err := c.SubmitBatch(t.Context(), specs); err == nil || sent.Load() != 1 {
		t.Errorf("got %v after %d requests", err, sent.Load())
	}
	if _, err := c.SubmitBatch(t.Context(), specs); err == nil {
		t.Error("one result for two specs was believed")
	}
}
