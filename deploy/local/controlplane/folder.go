package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// dataFolder is the folder that one control plane lives in, locked against a second one.
type dataFolder struct {
	root    string
	lock    *os.File
	cleanup func()
}

// openFolder makes and locks the folder and makes it the working folder; "" is a temporary one.
//
// The working folder matters: a Unix socket's path must be shorter than 108 bytes, which a test's
// folder often is not, so etcd's sockets are named relative to it.
func openFolder(root string) (*dataFolder, error) {
	temporary := root == ""
	if temporary {
		made, err := os.MkdirTemp("", "controlplane-")
		if err != nil {
			return nil, err
		}
		root = made
	}
	folder, err := lockFolder(root)
	if err != nil {
		return nil, err
	}
	folder.cleanup = sync.OnceFunc(func() {
		if temporary {
			os.RemoveAll(folder.root)
		}
		folder.lock.Close()
	})
	return folder, nil
}

func lockFolder(root string) (*dataFolder, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// 0700: it holds the keys to the cluster, and etcd's socket asks for no password.
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is in use by another control plane", root)
	}
	if err := os.Chdir(root); err != nil {
		lock.Close()
		return nil, err
	}
	return &dataFolder{root: root, lock: lock}, nil
}

// path is the absolute path of a name in the folder.
func (f *dataFolder) path(name string) string { return filepath.Join(f.root, name) }

// close unlocks the folder, and removes it if it is temporary; calling it twice is harmless.
func (f *dataFolder) close() { f.cleanup() }
