package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	startLimit   = 2 * time.Minute // a start takes some 5 s; a busy machine may need longer
	pollInterval = 100 * time.Millisecond
)

// awaitServer returns once the API server answers that it is ready, its roles and priority classes
// made: before, the controllers would be refused everything.
func awaitServer(ctx context.Context, folder *dataFolder) error {
	return poll(ctx, folder, "the API server did not become ready", func(ctx context.Context, client kubernetes.Interface) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// awaitReady returns once the controllers have made the default service account, without which
// every pod is refused.
func awaitReady(ctx context.Context, folder *dataFolder) error {
	return poll(ctx, folder, "the controllers did not make the default service account", func(ctx context.Context, client kubernetes.Interface) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func poll(ctx context.Context, folder *dataFolder, failure string, probe func(context.Context, kubernetes.Interface) error) error {
	config, err := clientcmd.BuildConfigFromFlags("", folder.path(adminKubeconfig))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var last error
	if err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		last = probe(ctx, client)
		return last == nil, nil
	}); err != nil {
		return fmt.Errorf("%s: %w (last answer: %w)", failure, err, last)
	}
	return nil
}
