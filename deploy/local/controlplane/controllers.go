package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// controllers leaves out what cannot work here: pods have loopback addresses, which Endpoints and
// EndpointSlices refuse, so these would fail and complain for ever.
var controllers = strings.Join([]string{
	"*",
	"-" + names.EndpointsController,
	"-" + names.EndpointSliceController,
	"-" + names.EndpointSliceMirroringController,
}, ",")

// runControllers runs the controller-manager until ctx ends, and never ends without an error before.
func runControllers(ctx context.Context, folder *dataFolder) error {
	manager, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	flags := pflag.NewFlagSet("kube-controller-manager", pflag.ContinueOnError)
	sets := manager.Flags(known, disabled, aliases)
	manager.ParsedFlags = &sets
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	err = flags.Parse([]string{
		"--kubeconfig=" + folder.path(controllersKubeconfig),
		"--controllers=" + controllers,
		// Without it every controller would act as the manager itself, which RBAC allows nothing.
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + folder.path(serviceAccountKey),
		"--root-ca-file=" + folder.path(authorityFile),
		"--leader-elect=false",
		"--secure-port=0",
		// The default is a system folder, which it would create.
		"--flex-volume-plugin-dir=" + folder.path("volume-plugins"),
		// The defaults, 20 and 30 a second, make hundreds of pods take minutes.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	})
	if err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	if err := manager.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	config, err := manager.Config(ctx, known, disabled, aliases)
	if err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	if err := app.Run(ctx, config.Complete()); err != nil && ctx.Err() == nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	return stoppedBy(ctx, "kube-controller-manager")
}
