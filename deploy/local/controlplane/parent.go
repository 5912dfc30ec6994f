package main

import (
	"context"
	"os"
	"time"

	"k8s.io/klog/v2"
)

const parentInterval = 200 * time.Millisecond

// cancelWithoutParent calls cancel once the parent is another process than it should be, which is
// how a process sees that its parent has died.
//
// Linux' PR_SET_PDEATHSIG is no substitute: it goes by the parent's thread, so a worker thread of a
// Python program that starts this one and returns would end it.
func cancelWithoutParent(ctx context.Context, parent int, cancel context.CancelFunc) {
	ticker := time.NewTicker(parentInterval)
	defer ticker.Stop()
	for os.Getppid() == parent {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
	klog.InfoS("the parent is gone", "parent", parent)
	cancel()
}
