package gateway

import (
	"context"
	"iter"
)

// feed has the items that were taken from their caller and wait for a stream.
type feed[Item any] struct {
	// items is closed when there are no more.
	items chan Item
	// room has a token for each further item that may be taken.
	room chan struct{}
}

func newFeed[Item any]() *feed[Item] {
	made := &feed[Item]{make(chan Item, itemsOfMessage), make(chan struct{}, itemsOfMessage)}
	for range itemsOfMessage - 1 {
		made.room <- struct{}{}
	}
	return made
}

// fill takes items from their caller, until there are no more or the context ends.
func (f *feed[Item]) fill(ctx context.Context, items iter.Seq[Item]) {
	defer close(f.items)
	for item := range items {
		// It never waits here, but for room before it takes another one: what was taken has to be known if the job is over.
		f.items <- item
		select {
		case <-f.room:
		case <-ctx.Done():
			return
		}
	}
}

// take waits for an item, and returns it with those that are there, and whether there are no more. It returns nothing if the
// context has ended.
func (f *feed[Item]) take(ctx context.Context) (items []Item, isLast bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case item, ok := <-f.items:
		for ok {
			items = append(items, item)
			f.room <- struct{}{}
			if len(items) == itemsOfMessage {
				return items, false
			}
			select {
			case item, ok = <-f.items:
			default:
				return items, false
			}
		}
		// Of a job that was left they have not come to their end.
		return items, ctx.Err() == nil
	}
}

// rest returns those that no stream will take any more.
func (f *feed[Item]) rest() (items []Item) {
	for {
		select {
		case item, ok := <-f.items:
			if !ok {
				return items
			}
			items = append(items, item)
		default:
			return items
		}
	}
}
