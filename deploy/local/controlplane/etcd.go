package main

import (
	"context"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	etcdSocket     = "etcd.sock" // relative to the data folder, the working folder
	etcdPeerSocket = "etcd-peer.sock"
)

// startEtcd returns once the store answers on its socket. A socket, since nothing else keeps the
// host's other users off a store without passwords; the data folder is closed to them.
func startEtcd(ctx context.Context, folder *dataFolder, logPath string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir = folder.path("etcd")
	config.LogLevel = "warn"
	config.LogOutputs = []string{logPath}
	config.UnsafeNoFsync = true // what a power failure loses here is a toy; syncing makes a start slow
	client := []url.URL{{Scheme: "unix", Host: etcdSocket}}
	peer := []url.URL{{Scheme: "unix", Host: etcdPeerSocket}}
	config.ListenClientUrls, config.AdvertiseClientUrls = client, client
	config.ListenPeerUrls, config.AdvertisePeerUrls = peer, peer
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err := <-etcd.Err():
		etcd.Close()
		return nil, fmt.Errorf("etcd: %w", err)
	case <-ctx.Done():
		etcd.Close()
		return nil, ctx.Err()
	}
}
