package literllm

/*
#include "queue.h"
*/
import "C"

import (
	"encoding/json"
	"os"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// delivery brings what a call says from the library's threads to the goroutine that asked. The library's side never waits: it puts down what
// came, and pauses the call where nobody takes it away. See queue.h.
type delivery struct {
	handle cgo.Handle
	queue  *C.literllm_go_queue
	// ready has a value while the queue has rung and was not looked at since.
	ready chan struct{}
	// taken are the piles in hand, the first one first.
	taken *C.literllm_go_pile
	// skipped says that chunks were not handed over, since the context had ended.
	skipped bool
	// failed is the error that the call ended with, once it was asked for.
	failed *Error
}

// free ends the delivery, once the end has come.
func (d *delivery) free() {
	for d.taken != nil {
		d.giveBack()
	}
	C.literllm_go_queue_free(d.queue)
	d.handle.Delete()
}

// take empties the queue into `taken`. over says that nothing follows.
func (d *delivery) take() (over bool) {
	// Looked at first: what was put down before the end is then seen.
	over = atomic.LoadUint32(word(&d.queue.state)) == C.LITERLLM_GO_DONE
	for latest := swap(&d.queue.waiting, nil); latest != nil; {
		atomic.AddUintptr(size(&d.queue.waiting_chunks), -uintptr(latest.chunks))
		atomic.AddUintptr(size(&d.queue.waiting_bytes), -uintptr(latest.length))
		before := latest.next
		latest.next, d.taken, latest = d.taken, latest, before
	}
	if atomic.SwapUint32(word(&d.queue.paused), 0) != 0 && !over {
		C.literllm_call_resume(d.queue.call)
	}
	return over
}

// each makes the chunks of what was taken and hands them over, until fn fails.
func (d *delivery) each(common *envelope, fn func(*ChatCompletionChunk) error) error {
	for d.taken != nil {
		if err := recordsOf(d.taken).each(common, fn); err != nil {
			return err
		}
		d.giveBack()
	}
	return nil
}

// giveBack has the first of the taken piles filled again.
func (d *delivery) giveBack() {
	pile := d.taken
	d.taken = pile.next
	if pile.capacity > C.LITERLLM_GO_MOST_KEPT {
		C.literllm_go_pile_free(pile)
		return
	}
	for {
		pile.next = load(&d.queue.emptied)
		if swapIf(&d.queue.emptied, pile.next, pile) {
			return
		}
	}
}

// failure is why the call failed, once the end has come; nil where it did not.
func (d *delivery) failure() *Error {
	if d.failed == nil && d.queue.error != nil {
		d.failed = decodeError(C.GoBytes(unsafe.Pointer(d.queue.error), C.int(d.queue.error_length)))
	}
	return d.failed
}

// completion is what came in all, once the end has come.
func (d *delivery) completion() *ChatCompletion {
	if failure := d.failure(); failure != nil {
		return failure.Partial
	}
	answer := &ChatCompletion{}
	if json.Unmarshal(d.answer(), answer) != nil {
		return nil
	}
	return answer
}

// bell is how the library's threads wake goroutines. Of those that wait, one at a time looks after it for all: it holds the place in `leader`.
var bell = struct {
	c      *C.literllm_go_bell
	leader chan struct{}
	mu     sync.Mutex
	// Made once, and kept as long as the process: where it is heard, and where it is rung.
	hear, ring *os.File
	raw        syscall.RawConn
}{c: &C.literllm_go_the_bell, leader: make(chan struct{}, 1)}

// hang makes the bell, unless there is one.
func hang() error {
	bell.mu.Lock()
	defer bell.mu.Unlock()
	if bell.raw != nil {
		return nil
	}
	hear, ring, err := newBell()
	if err != nil {
		return err
	}
	raw, err := ring.SyscallConn()
	if err == nil {
		err = raw.Control(func(descriptor uintptr) { bell.c.descriptor = C.intptr_t(descriptor) })
	}
	if err == nil {
		bell.hear, bell.ring, bell.raw = hear, ring, raw
	}
	return err
}

// wait returns once the queue has rung.
func (d *delivery) wait() {
	select {
	case <-d.ready:
	case bell.leader <- struct{}{}:
		d.lead()
		<-bell.leader
	}
}

// lead tells everyone whose queue rings, until it is this one's.
func (d *delivery) lead() {
	for {
		for queue := swap(&bell.c.rung, nil); queue != nil; {
			next, rung := queue.next, cgo.Handle(queue.handle).Value().(*delivery)
			atomic.AndUint32(word(&queue.state), ^uint32(C.LITERLLM_GO_RUNG))
			select {
			case rung.ready <- struct{}{}:
			default:
			}
			queue = next
		}
		select {
		case <-d.ready:
			return
		default:
		}
		if err := sleep(); err != nil {
			// Somebody has closed what was not theirs: it goes on, slowly.
			time.Sleep(time.Millisecond)
		}
	}
}

// fallAsleep is false where something has rung. Else the bell will be rung.
func fallAsleep() bool {
	atomic.StoreUint32(word(&bell.c.asleep), 1)
	// Whoever rings from here on sees it. Where one has seen it already, the bell is about to be rung.
	return load(&bell.c.rung) == nil || atomic.SwapUint32(word(&bell.c.asleep), 0) == 0
}

// What Go and C touch at once.

func word(number *C.uint32_t) *uint32 { return (*uint32)(unsafe.Pointer(number)) }

func size(number *C.size_t) *uintptr { return (*uintptr)(unsafe.Pointer(number)) }

func pointer[T any](at **T) *unsafe.Pointer { return (*unsafe.Pointer)(unsafe.Pointer(at)) }

func load[T any](from **T) *T { return (*T)(atomic.LoadPointer(pointer(from))) }

func swap[T any](at **T, with *T) *T {
	return (*T)(atomic.SwapPointer(pointer(at), unsafe.Pointer(with)))
}

func swapIf[T any](at **T, old, with *T) bool {
	return atomic.CompareAndSwapPointer(pointer(at), unsafe.Pointer(old), unsafe.Pointer(with))
}
