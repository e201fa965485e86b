package gateway

import (
	"iter"
	"sync"
	"time"
)

// How long a sequence that does not wait may need to give the item that it was asked for when its job is over.
const lastItem = 100 * time.Millisecond

// feed has the items that were taken from their caller and wait for a stream.
type feed[Item any] struct {
	mutex sync.Mutex
	items []Item
	// changed is closed, and made anew, whenever something of it has changed.
	changed chan struct{}
	// hasAll is whether there are no more items; isClosed is whether nobody wants more.
	hasAll, isClosed bool
	// ended is closed when the sequence is left.
	ended chan struct{}
}

func newFeed[Item any]() *feed[Item] {
	return &feed[Item]{changed: make(chan struct{}), ended: make(chan struct{})}
}

// change changes it, and lets all know who wait.
func (f *feed[Item]) change(how func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	how()
	close(f.changed)
	f.changed = make(chan struct{})
}

// fill takes items from their caller, until there are no more or nobody wants them.
func (f *feed[Item]) fill(items iter.Seq[Item]) {
	defer close(f.ended)
	for item := range items {
		f.change(func() { f.items = append(f.items, item) })
		// Before another one is taken: what was taken has to be known if the job is over.
		if !f.hasRoom() {
			return
		}
	}
	f.change(func() { f.hasAll = true })
}

// hasRoom waits until another item may be taken, and returns false if none is wanted.
func (f *feed[Item]) hasRoom() bool {
	for {
		f.mutex.Lock()
		isClosed, waiting, changed := f.isClosed, len(f.items), f.changed
		f.mutex.Unlock()
		if isClosed || waiting < itemsOfMessage {
			return !isClosed
		}
		<-changed
	}
}

// take waits for an item, and returns it with those that are there, and whether there are no more. It returns nothing when the
// stream that asks is over.
func (f *feed[Item]) take(over <-chan struct{}) (items []Item, isLast bool) {
	for {
		f.mutex.Lock()
		changed := f.changed
		if len(f.items) > 0 || f.hasAll {
			count := min(len(f.items), itemsOfMessage)
			items, f.items = f.items[:count:count], f.items[count:]
			isLast = f.hasAll && len(f.items) == 0
			close(f.changed)
			f.changed = make(chan struct{})
			f.mutex.Unlock()
			return items, isLast
		}
		f.mutex.Unlock()
		select {
		case <-over:
			return nil, false
		case <-changed:
		}
	}
}

// close takes no more items.
func (f *feed[Item]) close() { f.change(func() { f.isClosed = true }) }

// stop takes no more items, and returns those that no stream will take any more. A sequence that is waiting for its next item is
// not waited for.
func (f *feed[Item]) stop() []Item {
	f.close()
	select {
	case <-f.ended:
	case <-time.After(lastItem):
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.items
}
