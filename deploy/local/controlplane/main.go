// Command controlplane is a Kubernetes control plane in one process: etcd, API server,
// controller-manager and scheduler of the real Kubernetes, on free ports of 127.0.0.1, without
// Docker and without rights.
//
// It runs no pods; a node (tridentserve_local) does that. It is for laptops and tests: one
// replica, no encryption at rest, and writes that a power failure may lose.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/component-base/version"
)

// arguments are what the command line says.
type arguments struct {
	data          string // folder for certificates, tokens and the store; "" for a temporary one
	log           string // file for the logs of all components; "" for DIR/controlplane.log
	dieWithParent int    // process id of the parent to die with; 0 to outlive it
}

// readiness is the one line that goes to stdout, once pods can be created.
type readiness struct {
	Ready      bool   `json:"ready"`
	Kubeconfig string `json:"kubeconfig"`
	Server     string `json:"server"`
	PID        int    `json:"pid"`
	Version    string `json:"version"`
}

func main() {
	opts, err := parse(os.Args[1:], os.Getppid())
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(2)
	}
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func parse(args []string, parent int) (arguments, error) {
	var opts arguments
	flags := pflag.NewFlagSet("controlplane", pflag.ContinueOnError)
	flags.StringVar(&opts.data, "data", "", "folder to keep the cluster in (default: a temporary one, removed on exit)")
	flags.StringVar(&opts.log, "log", "", "file for the logs (default: controlplane.log in the data folder)")
	flags.IntVar(&opts.dieWithParent, "die-with-parent", 0, "stop when the process that started this one is gone; with =PID, also when it already is")
	flags.Lookup("die-with-parent").NoOptDefVal = fmt.Sprint(parent)
	if err := flags.Parse(args); err != nil {
		return arguments{}, err
	}
	if flags.NArg() > 0 {
		return arguments{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return opts, nil
}

// run prepares the data folder, runs the cluster until a signal, and cleans up.
func run(opts arguments) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	// The default is restored once the first signal has come, so that a second one kills.
	context.AfterFunc(ctx, stop)

	// The log's path is meant from where the caller stands; the data folder becomes the working folder.
	logPath := opts.log
	if logPath != "" {
		absolute, err := filepath.Abs(logPath)
		if err != nil {
			return err
		}
		logPath = absolute
	}
	folder, err := openFolder(opts.data)
	if err != nil {
		return err
	}
	defer folder.close()
	if logPath == "" {
		logPath = folder.path("controlplane.log")
	}
	logFile, err := redirectLogs(logPath, folder.close)
	if err != nil {
		return err
	}
	defer logFile.Close()

	if opts.dieWithParent != 0 {
		watched, cancel := context.WithCancel(ctx)
		defer cancel()
		go cancelWithoutParent(ctx, opts.dieWithParent, cancel)
		ctx = watched
	}
	return runCluster(ctx, folder, logPath, func(server string) error {
		return json.NewEncoder(os.Stdout).Encode(readiness{
			Ready:      true,
			Kubeconfig: folder.path(adminKubeconfig),
			Server:     server,
			PID:        os.Getpid(),
			Version:    version.Get().GitVersion,
		})
	})
}
