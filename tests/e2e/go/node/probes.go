package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/pkg/probe"
	grpcprobe "k8s.io/kubernetes/pkg/probe/grpc"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
)

// probe asks a container how it is, until it has ended: whether it has started, then whether it lives and is ready.
func (p *pod) probe(container *v1.Container, pid int, ended <-chan struct{}) {
	if container.StartupProbe != nil {
		if !p.follow(container, container.StartupProbe, pid, ended, func(well bool) bool { return well }) {
			return
		}
	}
	p.change(container.Name, func(state *v1.ContainerStatus) {
		yes := true
		state.Started = &yes
		state.Ready = state.State.Running != nil && container.ReadinessProbe == nil
	})
	if container.LivenessProbe != nil {
		go p.follow(container, container.LivenessProbe, pid, ended, func(bool) bool { return false })
	}
	if container.ReadinessProbe != nil {
		p.follow(container, container.ReadinessProbe, pid, ended, func(well bool) bool {
			p.change(container.Name, func(state *v1.ContainerStatus) { state.Ready = well && state.State.Running != nil })
			return false
		})
	}
}

// follow asks until what is told ends it. Returns whether that was so: else the container has ended.
//
// A probe that fails kills the container, unless it is the one for readiness.
func (p *pod) follow(container *v1.Container, asked *v1.Probe, pid int, ended <-chan struct{}, tell func(bool) bool) bool {
	wait := time.Duration(asked.InitialDelaySeconds) * time.Second
	successes, failures := int32(0), int32(0)
	readiness := asked == container.ReadinessProbe
	for {
		select {
		case <-ended:
			return false
		case <-time.After(wait):
		}
		if !readiness {
			select {
			case <-p.ending:
				return false
			default:
			}
		}
		wait = time.Duration(asked.PeriodSeconds) * time.Second
		err := p.ask(container, &asked.ProbeHandler, pid, time.Duration(asked.TimeoutSeconds)*time.Second)
		if err == nil {
			successes, failures = successes+1, 0
			if successes >= asked.SuccessThreshold && tell(true) {
				return true
			}
			continue
		}
		successes, failures = 0, failures+1
		if failures < asked.FailureThreshold {
			continue
		}
		if readiness {
			tell(false)
			continue
		}
		log.Printf("Container %s of pod %s is killed, since a probe fails: %v", container.Name, p.spec.Name, err)
		p.kill(asked, pid, ended)
		return false
	}
}

// kill ends a container that a probe found dead, so that it is started again.
func (p *pod) kill(asked *v1.Probe, pid int, ended <-chan struct{}) {
	grace := int64(30)
	if p.spec.Spec.TerminationGracePeriodSeconds != nil {
		grace = *p.spec.Spec.TerminationGracePeriodSeconds
	}
	if asked.TerminationGracePeriodSeconds != nil {
		grace = *asked.TerminationGracePeriodSeconds
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(time.Duration(grace) * time.Second):
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// ask does what a probe says, by the kubelet's own packages where they have it.
func (p *pod) ask(container *v1.Container, how *v1.ProbeHandler, pid int, timeout time.Duration) error {
	switch {
	case how.GRPC != nil:
		service := ""
		if how.GRPC.Service != nil {
			service = *how.GRPC.Service
		}
		return verdict(grpcprobe.New().Probe(p.ip, service, int(how.GRPC.Port), timeout))
	case how.HTTPGet != nil:
		port, err := portOf(container, how.HTTPGet.Port)
		if err != nil {
			return err
		}
		request, err := httpprobe.NewRequestForHTTPGetAction(how.HTTPGet, container, p.ip, "probe")
		if err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
		return verdict(httpprobe.New(false).Probe(request, timeout))
	case how.TCPSocket != nil:
		port, err := portOf(container, how.TCPSocket.Port)
		if err != nil {
			return err
		}
		connection, err := net.DialTimeout("tcp", net.JoinHostPort(p.ip, strconv.Itoa(port)), timeout)
		if err != nil {
			return err
		}
		return connection.Close()
	case how.Exec != nil:
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return p.execute(ctx, how.Exec.Command, pid)
	}
	return fmt.Errorf("this node does not know such a probe")
}

// hook does what is to be done before a container ends.
func (p *pod) hook(container *v1.Container, how *v1.LifecycleHandler, pid int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-p.overdue:
			cancel()
		case <-ctx.Done():
		}
	}()
	var err error
	switch {
	case how.Sleep != nil:
		select {
		case <-time.After(time.Duration(how.Sleep.Seconds) * time.Second):
		case <-ctx.Done():
		}
	case how.Exec != nil:
		err = p.execute(ctx, how.Exec.Command, pid)
	case how.HTTPGet != nil:
		var request *http.Request
		if request, err = httpprobe.NewRequestForHTTPGetAction(how.HTTPGet, container, p.ip, "hook"); err == nil {
			err = verdict(httpprobe.New(false).Probe(request.WithContext(ctx), time.Minute))
		}
	}
	if err != nil {
		log.Printf("The hook of container %s of pod %s failed: %v", container.Name, p.spec.Name, err)
	}
}

// execute runs a command where a container has its files.
func (p *pod) execute(ctx context.Context, command []string, pid int) error {
	arguments := append([]string{"--target", strconv.Itoa(pid), "--mount", "--pid", "--"}, command...)
	output, err := exec.CommandContext(ctx, "nsenter", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

func verdict(result probe.Result, output string, err error) error {
	if err == nil && result != probe.Success && result != probe.Warning {
		return fmt.Errorf("%s: %s", result, output)
	}
	return err
}

func portOf(container *v1.Container, port intstr.IntOrString) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, one := range container.Ports {
		if one.Name == port.StrVal {
			return int(one.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("there is no port %s", port.StrVal)
}
