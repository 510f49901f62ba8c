package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	slotdv1 "slotd/messages/slotd/v1"
)

func (a *app) slotsVerb() *cobra.Command {
	return &cobra.Command{
		Use:               "slots [SLOT…]",
		Short:             "Show slots: who holds them, who waits, what was decided",
		ValidArgsFunction: a.slotNames,
		RunE: a.verb(func(ctx context.Context, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			all := &slotdv1.ListSlotsResponse{}
			if len(args) == 0 {
				if all.Slots, err = c.Slots(ctx); err != nil {
					return err
				}
				return a.show(a.slotListing(all.GetSlots(), all))
			}
			for _, name := range args {
				slot, err := c.Slot(ctx, name)
				if err != nil {
					return err
				}
				all.Slots = append(all.Slots, slot)
			}
			var object proto.Message = all
			if len(all.GetSlots()) == 1 {
				object = all.GetSlots()[0]
			}
			return a.show(a.slotListing(all.GetSlots(), object))
		}),
	}
}
