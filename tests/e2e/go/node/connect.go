package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// Where pods send everything. Nobody has this address: the pod is told whose it is.
	gateway = "169.254.1.1"
	// Of the node's end of the cable to each pod.
	gatewayMAC = "02:00:00:00:00:01"
)

// connect gives a pod a network of its own, and a cable from it to the node's network, with a route at each end. Both are
// gone when the file is closed and no process of the pod is left.
func connect(ip, node string) (*os.File, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	device := "pod" + strings.Join(strings.Split(ip, ".")[2:], "-")
	// Not of /proc/self: others open it.
	inside := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), namespace.Fd())
	err = configure([]string{"ip", "-batch", "-"},
		fmt.Sprintf("link add %s address %s type veth peer name eth0 netns %s", device, gatewayMAC, inside),
		fmt.Sprintf("link set %s up", device),
		fmt.Sprintf("route add %s dev %s src %s", ip, device, node),
	)
	if err == nil {
		err = configure([]string{"nsenter", "--net=" + inside, "ip", "-batch", "-"},
			"link set lo up",
			fmt.Sprintf("addr add %s/32 dev eth0", ip),
			"link set eth0 up",
			fmt.Sprintf("route add %s dev eth0", gateway),
			fmt.Sprintf("neigh add %s lladdr %s dev eth0 nud permanent", gateway, gatewayMAC),
			fmt.Sprintf("route add default via %s", gateway),
		)
	}
	if err != nil {
		_ = namespace.Close()
		return nil, fmt.Errorf("the network of a pod: %w", err)
	}
	return namespace, nil
}

func configure(command []string, lines ...string) error {
	run := exec.Command(command[0], command[1:]...)
	run.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if output, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

// newNamespace returns a network that nobody is in yet.
func newNamespace() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	result := make(chan made)
	go func() {
		// Never unlocked, so that this thread, which is in the new network, ends with its goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- made{nil, err}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		result <- made{file, err}
	}()
	got := <-result
	return got.file, got.err
}
