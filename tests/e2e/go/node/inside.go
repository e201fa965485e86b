package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The pod's network, which the process of a container is started with.
const podNetwork = 3

type mount struct {
	Source   string
	Target   string
	ReadOnly bool
}

// inside is what a container is started with.
type inside struct {
	Command         []string
	Environment     []string
	Folder          string
	Hostname        string
	Mounts          []mount
	Overlays        string
	ReadOnly        bool
	NoNewPrivileges bool
}

// enter makes of this process, which has namespaces of its own, the process of a container. It returns only if that fails.
func enter(file string) error {
	runtime.LockOSThread()
	if err := unix.Setns(podNetwork, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("the network of the pod cannot be entered: %w", err)
	}
	_ = unix.Close(podNetwork)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var to inside
	if err := json.Unmarshal(text, &to); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts cannot be kept to this container: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc cannot be mounted: %w", err)
	}
	if err := to.mountAll(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(to.Hostname)); err != nil {
		return err
	}
	if to.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	folder := to.Folder
	if folder == "" {
		folder = "/"
	}
	if err := os.Chdir(folder); err != nil {
		return err
	}
	for _, variable := range to.Environment {
		if path, found := strings.CutPrefix(variable, "PATH="); found {
			os.Setenv("PATH", path)
		}
	}
	program, err := exec.LookPath(to.Command[0])
	if err != nil {
		return err
	}
	return unix.Exec(program, to.Command, to.Environment)
}

// mountAll mounts the volumes. Folders for them are made in layers over what is there, so that the machine keeps its own.
func (i *inside) mountAll() error {
	layers := map[string]bool{}
	for _, one := range i.Mounts {
		above := one.Target
		for above != "/" {
			if _, err := os.Stat(above); err == nil {
				break
			}
			above = filepath.Dir(above)
		}
		if above == one.Target {
			continue
		}
		if above == "/" {
			return fmt.Errorf("%s: this node mounts nothing right below /", one.Target)
		}
		if !layers[above] {
			layers[above] = true
			layer := filepath.Join(i.Overlays, strconv.Itoa(len(layers)))
			upper, work := layer+"/upper", layer+"/work"
			for _, folder := range []string{upper, work} {
				if err := os.RemoveAll(folder); err != nil {
					return err
				}
				if err := os.MkdirAll(folder, 0o755); err != nil {
					return err
				}
			}
			options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", above, upper, work)
			if err := unix.Mount("overlay", above, "overlay", 0, options); err != nil {
				return fmt.Errorf("a layer over %s: %w", above, err)
			}
		}
		if err := os.MkdirAll(one.Target, 0o755); err != nil {
			return err
		}
	}
	if i.ReadOnly {
		attribute := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attribute); err != nil {
			return fmt.Errorf("the root cannot be made read-only: %w", err)
		}
	}
	for _, one := range i.Mounts {
		if err := unix.Mount(one.Source, one.Target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", one.Target, err)
		}
		attribute := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
		if one.ReadOnly {
			attribute = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		}
		if err := unix.MountSetattr(unix.AT_FDCWD, one.Target, 0, &attribute); err != nil {
			return fmt.Errorf("%s: %w", one.Target, err)
		}
	}
	return nil
}
