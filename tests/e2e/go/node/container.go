package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// As a kubelet waits before it starts a container again: at first not at all.
const (
	firstBackoff   = 10 * time.Second
	longestBackoff = 5 * time.Minute
)

// runContainer runs a container, again if the policy says so. Returns whether it ended well.
func (p *pod) runContainer(container *v1.Container, policy v1.RestartPolicy) bool {
	var backoff time.Duration
	for {
		code, known := p.runOnce(container)
		select {
		case <-p.ending:
			return known && code == 0
		default:
		}
		if policy == v1.RestartPolicyNever || (policy == v1.RestartPolicyOnFailure && code == 0) {
			return code == 0
		}
		p.change(container.Name, func(state *v1.ContainerStatus) {
			state.LastTerminationState, state.RestartCount = state.State, state.RestartCount+1
			state.State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
		})
		select {
		case <-time.After(backoff):
		case <-p.ending:
			return false
		}
		backoff = min(max(firstBackoff, 2*backoff), longestBackoff)
	}
}

// runOnce runs a container from its start to its end. Returns its exit code, and whether it ran at all.
func (p *pod) runOnce(container *v1.Container) (int, bool) {
	var command *exec.Cmd
	prepared := p.until(container.Name, func() (err error) {
		command, err = p.prepare(container)
		return err
	})
	if !prepared {
		return 0, false
	}
	logs, err := os.OpenFile(p.log(container.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.wait(container.Name, "RunContainerError", err.Error())
		return 128, false
	}
	defer logs.Close()
	command.Stdout, command.Stderr = logs, logs
	if err := command.Start(); err != nil {
		p.wait(container.Name, "RunContainerError", err.Error())
		return 128, false
	}
	id := fmt.Sprintf("process://%d", command.Process.Pid)
	started := metav1.Now()
	p.change(container.Name, func(state *v1.ContainerStatus) {
		started, ready := container.StartupProbe == nil, container.StartupProbe == nil && container.ReadinessProbe == nil
		state.Started, state.Ready, state.ContainerID, state.ImageID = &started, ready, id, container.Image
		state.State = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Now()}}
	})
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	go p.probe(container, command.Process.Pid, ended)
	select {
	case <-ended:
	case <-p.ending:
		p.stop(container, command.Process.Pid, ended)
	}
	code := command.ProcessState.ExitCode()
	signal := int32(0)
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		signal = int32(status.Signal())
		code = 128 + int(signal)
	}
	reason, message := "Completed", ""
	if code != 0 {
		reason = "Error"
		if container.TerminationMessagePolicy == v1.TerminationMessageFallbackToLogsOnError {
			message = lastLines(logs.Name())
		}
	}
	p.change(container.Name, func(state *v1.ContainerStatus) {
		no := false
		state.Ready, state.Started = false, &no
		state.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
			ExitCode: int32(code), Signal: signal, Reason: reason, Message: message, ContainerID: id,
			StartedAt: started, FinishedAt: metav1.Now(),
		}}
	})
	return code, true
}

// stop ends a container: its hook, SIGTERM, and SIGKILL when the grace period is over.
func (p *pod) stop(container *v1.Container, pid int, ended <-chan struct{}) {
	hooked := make(chan struct{})
	go func() {
		defer close(hooked)
		if container.Lifecycle != nil && container.Lifecycle.PreStop != nil {
			p.hook(container.Lifecycle.PreStop)
		}
	}()
	select {
	case <-hooked:
		_ = syscall.Kill(pid, syscall.SIGTERM)
	case <-p.overdue:
	case <-ended:
	}
	select {
	case <-ended:
		return
	case <-p.overdue:
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	<-ended
}

// prepare makes the command of a container.
func (p *pod) prepare(container *v1.Container) (*exec.Cmd, error) {
	image, err := p.provider.image(container.Image)
	if err != nil {
		return nil, err
	}
	if image == nil {
		return nil, fmt.Errorf("ErrImagePull: there is no image %s", container.Image)
	}
	if err := unsupported(container); err != nil {
		return nil, err
	}
	environment, err := p.environment(container, image)
	if err != nil {
		return nil, err
	}
	expand := expansion.MappingFuncFor(environment)
	command, arguments := image.Entrypoint, image.Command
	if len(container.Command) > 0 {
		command, arguments = container.Command, nil
	}
	if len(container.Args) > 0 {
		arguments = container.Args
	}
	inside := inside{
		Hostname: p.spec.Name,
		Folder:   container.WorkingDir,
		Overlays: filepath.Join(p.folder, "overlays", container.Name),
	}
	for _, text := range append(append([]string{}, command...), arguments...) {
		inside.Command = append(inside.Command, expansion.Expand(text, expand))
	}
	for name, value := range environment {
		inside.Environment = append(inside.Environment, name+"="+value)
	}
	if context := container.SecurityContext; context != nil {
		inside.ReadOnly = context.ReadOnlyRootFilesystem != nil && *context.ReadOnlyRootFilesystem
		inside.NoNewPrivileges = context.AllowPrivilegeEscalation != nil && !*context.AllowPrivilegeEscalation
	}
	for _, mounted := range container.VolumeMounts {
		if mounted.SubPath != "" || mounted.SubPathExpr != "" {
			return nil, fmt.Errorf("the mount of %s: this node has no subPath", mounted.Name)
		}
		inside.Mounts = append(inside.Mounts, mount{p.volume(mounted.Name), mounted.MountPath, mounted.ReadOnly})
	}
	hosts := "127.0.0.1\tlocalhost\n" + p.ip + "\t" + p.spec.Name + "\n"
	for _, alias := range p.spec.Spec.HostAliases {
		hosts += alias.IP + "\t" + strings.Join(alias.Hostnames, "\t") + "\n"
	}
	for name, text := range map[string]string{"hosts": hosts, "resolv.conf": p.provider.network.resolver(p.spec.Namespace)} {
		file := filepath.Join(p.folder, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
		inside.Mounts = append(inside.Mounts, mount{file, "/etc/" + name, true})
	}
	text, err := json.Marshal(inside)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.folder, container.Name+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	made := exec.Command("/proc/self/exe", "container", file)
	// It is process 1 of its own, as in a container: nothing that it started outlives it.
	made.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setpgid:    true,
	}
	made.ExtraFiles = []*os.File{p.network}
	return made, nil
}

// unsupported says what a container asks for that this node does not have.
func unsupported(container *v1.Container) error {
	for _, asked := range []*v1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		if asked != nil && asked.GRPC == nil && asked.HTTPGet == nil {
			return fmt.Errorf("the probes of %s: this node has those by gRPC and HTTP, and no others", container.Name)
		}
	}
	hooks := container.Lifecycle
	if hooks != nil && (hooks.PostStart != nil || hooks.PreStop != nil && hooks.PreStop.Sleep == nil) {
		return fmt.Errorf("the hooks of %s: this node has preStop with sleep, and no others", container.Name)
	}
	return nil
}

// environment returns the variables of a container.
func (p *pod) environment(container *v1.Container, image *image) (map[string]string, error) {
	result := map[string]string{
		"PATH":                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":                    "/",
		"HOSTNAME":                p.spec.Name,
		"KUBERNETES_SERVICE_HOST": "10.96.0.1",
		"KUBERNETES_SERVICE_PORT": "443",
	}
	for name, value := range image.Env {
		result[name] = value
	}
	for _, from := range container.EnvFrom {
		values, err := p.allOf(&from)
		if err != nil {
			return nil, err
		}
		for name, value := range values {
			result[from.Prefix+name] = string(value)
		}
	}
	if links := p.spec.Spec.EnableServiceLinks; links == nil || *links {
		for name, value := range p.provider.network.links(p.spec.Namespace) {
			result[name] = value
		}
	}
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			result[variable.Name] = expansion.Expand(variable.Value, expansion.MappingFuncFor(result))
			continue
		}
		value, there, err := p.valueOf(container, variable.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("the variable %s: %w", variable.Name, err)
		}
		if there {
			result[variable.Name] = value
		}
	}
	return result, nil
}

func (p *pod) allOf(from *v1.EnvFromSource) (map[string][]byte, error) {
	if source := from.ConfigMapRef; source != nil {
		return p.configMap(source.Name, source.Optional)
	}
	return p.secret(from.SecretRef.Name, from.SecretRef.Optional)
}

func (p *pod) valueOf(container *v1.Container, from *v1.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		value, err := p.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err := resource.ExtractContainerResourceValue(from.ResourceFieldRef, container)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		source := from.ConfigMapKeyRef
		data, err := p.configMap(source.Name, source.Optional)
		return entry(data, err, source.Name, source.Key, source.Optional)
	case from.SecretKeyRef != nil:
		source := from.SecretKeyRef
		data, err := p.secret(source.Name, source.Optional)
		return entry(data, err, source.Name, source.Key, source.Optional)
	}
	return "", false, fmt.Errorf("this node does not know where its value comes from")
}

// entry returns what is in one place of a ConfigMap or a Secret, and whether there is anything.
func entry(data map[string][]byte, err error, name, key string, optional *bool) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	if value, ok := data[key]; ok {
		return string(value), true, nil
	}
	return "", false, unless(optional, fmt.Errorf("%s has no %s", name, key))
}

// configMap returns what a ConfigMap holds: nothing if it is not there and need not be.
func (p *pod) configMap(name string, optional *bool) (map[string][]byte, error) {
	found, err := p.provider.listers.ConfigMaps.ConfigMaps(p.spec.Namespace).Get(name)
	if err != nil {
		return nil, unless(optional, err)
	}
	data := map[string][]byte{}
	for key, text := range found.Data {
		data[key] = []byte(text)
	}
	for key, value := range found.BinaryData {
		data[key] = value
	}
	return data, nil
}

// secret returns the same of a Secret.
func (p *pod) secret(name string, optional *bool) (map[string][]byte, error) {
	found, err := p.provider.listers.Secrets.Secrets(p.spec.Namespace).Get(name)
	if err != nil {
		return nil, unless(optional, err)
	}
	return found.Data, nil
}

func (p *pod) field(path string) (string, error) {
	switch path {
	case "status.podIP", "status.podIPs":
		return p.ip, nil
	case "status.hostIP", "status.hostIPs":
		return p.provider.address, nil
	case "spec.nodeName":
		return p.provider.name, nil
	case "spec.serviceAccountName":
		return p.spec.Spec.ServiceAccountName, nil
	}
	return fieldpath.ExtractFieldPathAsString(p.spec, path)
}

func unless(optional *bool, err error) error {
	if optional != nil && *optional {
		return nil
	}
	return err
}
