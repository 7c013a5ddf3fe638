package literllm

/*
#cgo !literllm_shared pkg-config: literllm-static
#cgo literllm_shared pkg-config: literllm
#cgo windows LDFLAGS: -lpthread
#include "queue.h"

// Exported by hooks.go.
extern void literllmGoHook(uintptr_t handle, void *call);
extern void literllmGoFreeHooks(uintptr_t handle);

static void on_hook(void *user_data, literllm_hook_call *call) { literllmGoHook((uintptr_t)user_data, call); }

static void free_hooks(void *user_data) { literllmGoFreeHooks((uintptr_t)user_data); }

static literllm_error *new_client(const char *config, size_t length, uint32_t stages, uintptr_t hooks, literllm_client **client) {
	literllm_text text = {config, length};
	if (hooks == 0) return literllm_client_new(text, client);
	return literllm_client_new_with_hooks(text, stages, on_hook, (void *)hooks, free_hooks, client);
}

static literllm_go_queue *start(literllm_client *client, const char *request, size_t request_length, const char *options,
                                size_t options_length, bool stream, uintptr_t delivery) {
	literllm_text request_text = {request, request_length};
	literllm_text options_text = {options, options_length};
	literllm_go_queue *queue = literllm_go_queue_new(delivery);
	if (stream) {
		literllm_client_chat_stream(client, request_text, options_text, literllm_go_on_chunks, literllm_go_on_done, queue, &queue->call);
	} else {
		literllm_client_chat(client, request_text, options_text, literllm_go_on_done, queue, &queue->call);
	}
	return queue;
}
*/
import "C"

import (
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Version is the version of the engine that is linked.
func Version() string { return C.GoString(C.literllm_version()) }

// engine owns a client of the C library.
type engine struct {
	client *C.literllm_client
	// Objects that are small and without a Go pointer share their memory with others, and are finalized only when all of those are gone.
	_ *byte
}

func newEngine(config []byte, asked asked) (*engine, error) {
	if err := hang(); err != nil {
		return nil, &Error{Kind: ErrNetwork, Message: "the system gives no pipe: " + err.Error()}
	}
	var client *C.literllm_client
	var handle cgo.Handle
	stages := stageBits(asked.hooks)
	if stages != 0 || asked.tokens != nil {
		handle = cgo.NewHandle(asked)
	}
	if err := C.new_client(bytesPointer(config), C.size_t(len(config)), stages, C.uintptr_t(handle), &client); err != nil {
		defer C.literllm_error_free(err)
		return nil, decodeError(textBytes(C.literllm_error_json(err)))
	}
	e := &engine{client: client}
	runtime.SetFinalizer(e, (*engine).free)
	return e, nil
}

func (e *engine) free() {
	C.literllm_client_free(e.client)
	e.client = nil
}

// start begins a call, whose chunks and end come to the delivery that is returned. It is freed once the end has come.
func (e *engine) start(request, options []byte, stream bool) *delivery {
	d := &delivery{ready: make(chan struct{}, 1)}
	d.handle = cgo.NewHandle(d)
	d.queue = C.start(e.client, bytesPointer(request), C.size_t(len(request)), bytesPointer(options), C.size_t(len(options)),
		C.bool(stream), C.uintptr_t(d.handle))
	runtime.KeepAlive(e)
	return d
}

func (d *delivery) cancel() { C.literllm_call_cancel(d.queue.call) }

// answer is what has come so far, and the whole answer in the end, as JSON; nil while nothing has come, and after an error.
func (d *delivery) answer() []byte {
	response := C.literllm_call_response(d.queue.call)
	if response == nil {
		return nil
	}
	defer C.literllm_response_free(response)
	return textBytes(C.literllm_response_json(response))
}

func bytesPointer(bytes []byte) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(bytes)))
}

// textBytes is a text of the library, copied.
func textBytes(text C.literllm_text) []byte {
	return C.GoBytes(unsafe.Pointer(text.data), C.int(text.length))
}
