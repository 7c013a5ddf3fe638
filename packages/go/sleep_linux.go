package literllm

import (
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// sleep returns once something has rung. It asks the pipe with a system call that Go's scheduler does not hear of: its monitor would be woken
// by any other, each time, which takes as long as all else here.
func sleep() {
	if err := pipeOfBell().Read(awake()); err != nil {
		// Somebody has closed what was not theirs: it goes on, slowly.
		time.Sleep(time.Millisecond)
	}
}

var pipeOfBell = sync.OnceValue(func() syscall.RawConn {
	conn, err := bell.pipe.SyscallConn()
	if err != nil {
		panic(err)
	}
	return conn
})

// awake is asked once before the pipe is waited for, and then whenever something is in it.
func awake() func(uintptr) bool {
	woken := false
	return func(pipe uintptr) bool {
		if woken {
			var bytes [64]byte
			syscall.RawSyscall(syscall.SYS_READ, pipe, uintptr(unsafe.Pointer(&bytes)), unsafe.Sizeof(bytes))
		}
		woken = true
		return !fallAsleep()
	}
}
