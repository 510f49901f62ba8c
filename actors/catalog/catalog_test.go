package catalog_test

import (
	"context"

	"google.golang.org/protobuf/proto"

	slotdv1 "slotd/messages/slotd/v1"
)

func noRuns(context.Context, string) ([]*slotdv1.RunRecord, error) { return nil, nil }

func clone(rec *slotdv1.TaskRecord) *slotdv1.TaskRecord { return proto.CloneOf(rec) }

func recordIDs(recs []*slotdv1.TaskRecord) []string {
	ids := make([]string, len(recs))
	for i, rec := range recs {
		ids[i] = rec.GetId()
	}
	return ids
}
