package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

const (
	clientStopLimit = 3 * time.Second // for the controllers and the scheduler
	serverStopLimit = 5 * time.Second // for the API server, whose watches may linger
)

// runCluster starts the four components, calls ready once pods can be created, and stops them in
// reverse when ctx ends. It returns the reason if one of them ends by itself.
func runCluster(ctx context.Context, folder *dataFolder, logPath string, ready func(server string) error) error {
	if err := ensureCredentials(folder); err != nil {
		return err
	}
	etcd, err := startEtcd(ctx, folder, logPath)
	if err != nil {
		return ignoreStop(ctx, err)
	}
	defer etcd.Close()

	listener, err := listen(folder)
	if err != nil {
		return err
	}
	defer listener.Close()
	server := "https://" + listener.Addr().String()
	// Each part gets a context of its own and not ctx, so that they can be stopped in order: an API
	// server that stops first makes the others fail and log.
	apiServer := newGroup()
	completed, err := newAPIServer(apiServer.ctx, folder, listener)
	if err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	if err := writeAuthority(folder); err != nil {
		return err
	}
	if err := writeKubeconfigs(folder, server); err != nil {
		return err
	}
	apiServer.start(func(ctx context.Context) error { return runAPIServer(ctx, completed) })
	defer apiServer.stop(serverStopLimit)

	clients := newGroup()
	defer clients.stop(clientStopLimit)
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	go func() {
		if awaitServer(starting, folder) != nil {
			return // the wait for readiness below says why
		}
		clients.start(func(ctx context.Context) error { return runControllers(ctx, folder) })
		clients.start(func(ctx context.Context) error { return runScheduler(ctx, folder) })
	}()
	isReady := make(chan error, 1)
	go func() { isReady <- awaitReady(starting, folder) }()

	for {
		select {
		case err := <-isReady:
			if err == nil {
				err = ready(server)
			}
			if err != nil {
				return ignoreStop(ctx, err)
			}
		case err := <-apiServer.failed:
			return err
		case err := <-clients.failed:
			return err
		case err := <-etcd.Err():
			return fmt.Errorf("etcd: %w", err)
		case <-ctx.Done():
			klog.Info("stopping")
			return nil
		}
	}
}

// ignoreStop is nil for an error that only says that ctx ended: being told to stop is no failure.
func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// stoppedBy is the error of a component that ended although nobody stopped it.
func stoppedBy(ctx context.Context, component string) error {
	if ctx.Err() == nil {
		return errors.New(component + " ended by itself")
	}
	return nil
}
