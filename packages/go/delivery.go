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
	"time"
	"unsafe"
)

// delivery brings what a call says from the library's threads to the goroutine that asked. The library's side never waits: it puts down what
// came, and pauses the call where nobody takes it away. See queue.h.
type delivery struct {
	handle cgo.Handle
	queue  *C.literllm_go_queue
	call   *C.literllm_call
	// ready has a value while the queue has rung and was not looked at since.
	ready chan struct{}
	// skipped says that chunks were not handed over, since the context had ended.
	skipped bool
}

func newDelivery(wantResponse bool) *delivery {
	d := &delivery{ready: make(chan struct{}, 1)}
	d.handle = cgo.NewHandle(d)
	d.queue = C.literllm_go_queue_new(C.uintptr_t(d.handle), C.bool(wantResponse))
	return d
}

// free gives everything back, once the end has come.
func (d *delivery) free() {
	C.literllm_call_free(d.call)
	C.literllm_go_queue_free(d.queue)
	d.handle.Delete()
}

// take empties the queue. over says that nothing follows. The pile is to be freed.
func (d *delivery) take() (taken *pile, over bool) {
	from := C.literllm_go_queue_take(d.queue)
	if from.resume && !from.over {
		C.literllm_call_resume(d.call)
	}
	return &pile{from.pile}, bool(from.over)
}

// failure is why the call failed, once the end has come; nil where it did not.
func (d *delivery) failure() *Error {
	if !d.queue.failed {
		return nil
	}
	return decodeError(d.ending())
}

// ending is the error or, where it was wanted, the whole answer, as JSON.
func (d *delivery) ending() []byte {
	return C.GoBytes(unsafe.Pointer(d.queue.ending), C.int(d.queue.ending_length))
}

// answer is what came in all, once the end has come.
func (d *delivery) answer() *ChatCompletion {
	if failure := d.failure(); failure != nil {
		return failure.Partial
	}
	answer := &ChatCompletion{}
	if json.Unmarshal(d.ending(), answer) != nil {
		return nil
	}
	return answer
}

// bell is how the library's threads wake goroutines. Of those that wait, one at a time looks after it for all: it holds the place in `leader`.
var bell = struct {
	leader chan struct{}
	mu     sync.Mutex
	// Made once, and kept as long as the process.
	pipe, end *os.File
}{leader: make(chan struct{}, 1)}

// hang makes the bell, unless there is one.
func hang() error {
	bell.mu.Lock()
	defer bell.mu.Unlock()
	if bell.pipe != nil {
		return nil
	}
	pipe, end, err := os.Pipe()
	if err != nil {
		return err
	}
	raw, err := end.SyscallConn()
	if err == nil {
		err = raw.Control(func(descriptor uintptr) { C.literllm_go_wake_through(C.intptr_t(descriptor)) })
	}
	if err == nil {
		bell.pipe, bell.end = pipe, end
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
	var woken [64]byte
	for {
		for queue := C.literllm_go_rung(); queue != nil; {
			next, rung := queue.next, cgo.Handle(queue.handle).Value().(*delivery)
			C.literllm_go_heard(queue)
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
		if C.literllm_go_sleep() {
			if _, err := bell.pipe.Read(woken[:]); err != nil {
				// Somebody has closed what was not theirs: it goes on, slowly.
				time.Sleep(time.Millisecond)
			}
		}
	}
}
