package literllm

import (
	"os"
	"syscall"
)

// newBell is an eventfd. It is never read: Go's poller hears of each write, and a system call more at each waking would wake up the scheduler's
// monitor as well, which takes as long as all else here.
func newBell() (hear, ring *os.File, err error) {
	descriptor, _, failed := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if failed != 0 {
		return nil, nil, failed
	}
	file := os.NewFile(descriptor, "liter-llm's bell")
	return file, file, nil
}

// sleep returns once something has rung.
func sleep() error { return bell.raw.Read(func(uintptr) bool { return !fallAsleep() }) }
