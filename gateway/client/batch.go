package client

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"

	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// MaxBatch is how many specs one batch may have.
const MaxBatch = 1000

// Submitted is what became of one spec of a batch: an id, or an error.
type Submitted struct {
	ID string

	// Err is nil, or an [*Error] with label and message, such as one that is [ErrSlotBusy]. It has no HTTP status.
	Err error
}

// SubmitBatch submits 1 to [MaxBatch] specs and returns a result for each, in their order. Each is decided as if it came
// alone after those before it; all that are admitted are durable together. The error is that of the whole request, of
// which nothing was admitted when it is an [*Error]. A batch is sent once: it has no idempotency key, so a connection that breaks
// leaves open what was admitted.
func (c *Client) SubmitBatch(ctx context.Context, specs []*soltiv1.CreateSpec) ([]Submitted, error) {
	body, err := protojson.Marshal(&slotdv1.SubmitTasksRequest{Specs: specs})
	if err != nil {
		return nil, err
	}
	var answer slotdv1.SubmitTasksResponse
	r := request{method: http.MethodPost, path: []string{"api", "v1", "tasks", "batch"}, body: body}
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	if got := len(answer.GetResults()); got != len(specs) {
		return nil, fmt.Errorf("the answer is not what slotd answers: %d results for %d specs", got, len(specs))
	}
	results := make([]Submitted, len(specs))
	for i, result := range answer.GetResults() {
		if result.Error == nil {
			results[i].ID = result.GetTaskId()
			continue
		}
		results[i].Err = &Error{Label: result.GetError(), Message: result.GetMessage()}
	}
	return results, nil
}
