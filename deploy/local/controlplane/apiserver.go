package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	apioptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// listen opens the API server's port on 127.0.0.1: the one of the former run if it is free, so that
// the kubeconfigs that a restart finds in use stay good, else any.
//
// The open socket is handed to the server; a port that is only looked up can be lost to another
// process in between.
func listen(folder *dataFolder) (net.Listener, error) {
	if port := formerPort(folder); port != "" {
		if listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return listener, nil
		}
	}
	return net.Listen("tcp4", "127.0.0.1:0")
}

func formerPort(folder *dataFolder) string {
	config, err := clientcmd.LoadFromFile(folder.path(adminKubeconfig))
	if err != nil || config.Clusters[clusterName] == nil {
		return ""
	}
	server, err := url.Parse(config.Clusters[clusterName].Server)
	if err != nil {
		return ""
	}
	return server.Port()
}

// newAPIServer completes the options of an API server on the listener, which writes its certificate.
func newAPIServer(ctx context.Context, folder *dataFolder, listener net.Listener) (apioptions.CompletedOptions, error) {
	server := apioptions.NewServerRunOptions()
	server.SecureServing.Listener = listener
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range server.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	err := flags.Parse([]string{
		"--etcd-servers=unix://" + etcdSocket,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1", // a laptop without a network has no other
		"--secure-port=" + strconv.Itoa(port),
		"--cert-dir=" + folder.path(certificateFolder),
		"--token-auth-file=" + folder.path(tokenFile),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + folder.path(serviceAccountKey),
		"--service-account-signing-key-file=" + folder.path(serviceAccountKey),
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", // an Endpoints object must not name a loopback address
		"--kubelet-preferred-address-types=InternalIP",
		"--profiling=false",
	})
	if err != nil {
		return apioptions.CompletedOptions{}, err
	}
	if err := server.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return apioptions.CompletedOptions{}, err
	}
	completed, err := server.Complete(ctx)
	if err != nil {
		return apioptions.CompletedOptions{}, err
	}
	return completed, utilerrors.NewAggregate(completed.Validate())
}

// runAPIServer returns when ctx ends, and never without an error before.
func runAPIServer(ctx context.Context, server apioptions.CompletedOptions) error {
	if err := app.Run(ctx, server); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	return stoppedBy(ctx, "kube-apiserver")
}
