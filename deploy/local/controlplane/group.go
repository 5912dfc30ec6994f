package main

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// group runs components that are stopped together.
type group struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	failed  chan error // the first reason of a component that ended by itself
}

func newGroup() *group {
	ctx, cancel := context.WithCancel(context.Background())
	return &group{ctx: ctx, cancel: cancel, failed: make(chan error, 1)}
}

// start runs a component until the group stops; after stop it does nothing.
func (g *group) start(component func(context.Context) error) {
	if g.ctx.Err() != nil {
		return
	}
	g.running.Go(func() {
		if err := component(g.ctx); err != nil {
			select {
			case g.failed <- err:
			default: // one reason is enough
			}
		}
	})
}

// stop ends all components, and waits for them, but not for longer than the limit: what hangs ends
// with the process.
func (g *group) stop(limit time.Duration) {
	g.cancel()
	done := make(chan struct{})
	go func() {
		g.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
		klog.InfoS("not all components stopped in time", "limit", limit)
	}
}
