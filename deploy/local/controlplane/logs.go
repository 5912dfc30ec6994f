package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// redirectLogs sends what the components log to a file. A component that gives up calls
// klog.Fatal, which would leave a temporary folder behind and its reason in the log alone; so
// beforeExit runs first, and stderr names the log.
func redirectLogs(path string, beforeExit func()) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, privateFile)
	if err != nil {
		return nil, err
	}
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{
		"logtostderr":     "false",
		"stderrthreshold": "FATAL",
		"one_output":      "true", // else a line goes to the outputs of all lower severities too: here one file
	} {
		if err := flags.Set(name, value); err != nil {
			return nil, err
		}
	}
	klog.SetOutput(file)
	log.SetOutput(file) // net/http logs there
	if err := moveStderr(file); err != nil {
		return nil, err
	}
	klog.OsExit = func(code int) {
		fmt.Fprintln(os.Stderr, "controlplane: a component gave up; the log is", path)
		beforeExit()
		os.Exit(code)
	}
	return file, nil
}

// moveStderr makes the file the process's stderr, and os.Stderr what stderr was. Before main begins
// the API server's etcd client takes hold of stderr for its log, and there is no asking it not to;
// our caller is to read there why we ended and nothing else.
func moveStderr(file *os.File) error {
	original, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	stderr := os.NewFile(uintptr(original), "stderr")
	if err := debug.SetCrashOutput(stderr, debug.CrashOptions{}); err != nil {
		return err
	}
	if err := unix.Dup3(int(file.Fd()), unix.Stderr, 0); err != nil {
		return err
	}
	os.Stderr = stderr
	return nil
}
