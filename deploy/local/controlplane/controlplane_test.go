package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"
)

// opened is a data folder that is closed with the test, which goes back to where it stood.
func opened(t *testing.T, root string) *dataFolder {
	t.Helper()
	t.Chdir(".")
	folder, err := openFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(folder.close)
	return folder
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestArguments(t *testing.T) {
	const parent = 42
	for _, test := range []struct {
		name string
		args []string
		want arguments
	}{
		{"a parent is outlived unless said otherwise", nil, arguments{}},
		{"a bare option means the parent of now", []string{"--die-with-parent"}, arguments{dieWithParent: parent}},
		{"a caller may name the parent", []string{"--die-with-parent=7"}, arguments{dieWithParent: 7}},
		{"files", []string{"--data", "d", "--log=l"}, arguments{data: "d", log: "l"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse(test.args, parent)
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	for _, args := range [][]string{{"surplus"}, {"--no-such"}, {"--die-with-parent=soon"}} {
		if _, err := parse(args, parent); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestTemporaryFolderIsRemovedOnce(t *testing.T) {
	folder := opened(t, "")
	folder.close()
	if _, err := os.Stat(folder.root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", folder.root, err)
	}
	folder.close()
}

func TestNamedFolderIsKeptAndHasOneOwnerAtATime(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "folder")
	first := opened(t, root)
	if _, err := openFolder(root); err == nil {
		t.Error("a second owner was let in")
	}
	first.close()
	opened(t, root)
}

func TestFolderIsClosedToOtherUsers(t *testing.T) {
	info, err := os.Stat(opened(t, "").root)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v", info.Mode())
	}
}

func TestCredentialsOutliveARestart(t *testing.T) {
	folder := opened(t, "")
	for range 2 {
		if err := ensureCredentials(folder); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{tokenFile, serviceAccountKey} {
			before := read(t, folder.path(name))
			if err := ensureCredentials(folder); err != nil {
				t.Fatal(err)
			}
			if read(t, folder.path(name)) != before {
				t.Errorf("%s was made anew", name)
			}
		}
	}
}

func TestAFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	half := func(file *os.File) error {
		file.WriteString("half")
		return errors.New("the disk is full")
	}
	if err := createOnce(path, half); err == nil {
		t.Error("the failure was hidden")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file is there: %v", err)
	}
	whole := func(file *os.File) error { _, err := file.WriteString("whole"); return err }
	if err := createOnce(path, whole); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "whole" {
		t.Errorf("the file holds %q", got)
	}
}

// certified is a folder with credentials and a server's certificate.
func certified(t *testing.T) *dataFolder {
	t.Helper()
	folder := opened(t, "")
	certificate, _, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.WriteCert(folder.path(certificateFile), certificate); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ensureCredentials(folder), writeAuthority(folder)); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestARestartAsksForTheFormerPort(t *testing.T) {
	folder := certified(t)
	if got := formerPort(folder); got != "" {
		t.Errorf("a new folder remembers port %q", got)
	}
	if err := writeKubeconfigs(folder, "https://127.0.0.1:45678"); err != nil {
		t.Fatal(err)
	}
	if got := formerPort(folder); got != "45678" {
		t.Errorf("the former port is %q", got)
	}
}

func TestATakenPortIsReplaced(t *testing.T) {
	folder := certified(t)
	first, err := listen(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := writeKubeconfigs(folder, "https://"+first.Addr().String()); err != nil {
		t.Fatal(err)
	}
	second, err := listen(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.Addr().String() == second.Addr().String() {
		t.Error("two listeners have one port")
	}
}

func TestBrokenTokenFileIsSaid(t *testing.T) {
	folder := certified(t)
	if err := os.WriteFile(folder.path(tokenFile), []byte("one,line,only,\n"), privateFile); err != nil {
		t.Fatal(err)
	}
	if err := writeKubeconfigs(folder, "https://127.0.0.1:1"); err == nil {
		t.Error("a token file without all accounts was accepted")
	}
}

func TestGroupTellsTheFirstFailureAndStopsTheRest(t *testing.T) {
	group := newGroup()
	stopped := make(chan struct{})
	group.start(func(ctx context.Context) error { <-ctx.Done(); close(stopped); return nil })
	group.start(func(context.Context) error { return errors.New("broken") })
	if err := <-group.failed; err.Error() != "broken" {
		t.Errorf("the failure is %v", err)
	}
	group.stop(time.Minute)
	<-stopped
	group.start(func(context.Context) error { t.Error("it runs after the stop"); return nil })
	group.running.Wait()
}

func TestGroupDoesNotWaitForWhatHangs(t *testing.T) {
	group := newGroup()
	hanging := make(chan struct{})
	defer close(hanging)
	group.start(func(context.Context) error { <-hanging; return nil })
	group.stop(time.Millisecond)
}

func TestAnotherParentMeansThatTheParentIsGone(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancelWithoutParent(ctx, os.Getppid()+1, cancel)
	if ctx.Err() == nil {
		t.Error("it goes on without its parent")
	}
}

func TestEndingByItselfIsAFailureAndBeingStoppedIsNot(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	if stoppedBy(ctx, "etcd") == nil {
		t.Error("a component ended by itself, and nobody was told")
	}
	cancel()
	if err := stoppedBy(ctx, "etcd"); err != nil {
		t.Error(err)
	}
	if err := ignoreStop(ctx, errors.New("cut off")); err != nil {
		t.Error(err)
	}
}
