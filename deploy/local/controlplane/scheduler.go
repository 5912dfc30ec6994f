package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// runScheduler runs the scheduler until ctx ends, and never ends without an error before.
func runScheduler(ctx context.Context, folder *dataFolder) error {
	scheduler := options.NewOptions()
	flags := pflag.NewFlagSet("kube-scheduler", pflag.ContinueOnError)
	for _, set := range scheduler.Flags.FlagSets {
		flags.AddFlagSet(set)
	}
	err := flags.Parse([]string{
		"--kubeconfig=" + folder.path(schedulerKubeconfig),
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
	})
	if err != nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	if err := scheduler.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	config, built, err := app.Setup(ctx, scheduler)
	if err != nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	// It always returns an error, also when it was told to stop.
	if err := app.Run(ctx, config, built); err != nil && ctx.Err() == nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	return stoppedBy(ctx, "kube-scheduler")
}
