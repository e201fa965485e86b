package main

import (
	"fmt"
	"log"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
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
		err := p.ask(container, &asked.ProbeHandler, time.Duration(asked.TimeoutSeconds)*time.Second)
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
func (p *pod) ask(container *v1.Container, how *v1.ProbeHandler, timeout time.Duration) error {
	switch {
	case how.GRPC != nil:
		service := ""
		if how.GRPC.Service != nil {
			service = *how.GRPC.Service
		}
		return verdict(grpcprobe.New().Probe(p.ip, service, int(how.GRPC.Port), timeout))
	case how.HTTPGet != nil:
		request, err := httpprobe.NewRequestForHTTPGetAction(how.HTTPGet, container, p.ip, "probe")
		if err != nil {
			return err
		}
		return verdict(httpprobe.New(false).Probe(request, timeout))
	}
	return fmt.Errorf("this node does not know such a probe")
}

// hook does what is to be done before a container ends.
func (p *pod) hook(how *v1.LifecycleHandler) {
	select {
	case <-time.After(time.Duration(how.Sleep.Seconds) * time.Second):
	case <-p.overdue:
	}
}

func verdict(result probe.Result, output string, err error) error {
	if err == nil && result != probe.Success && result != probe.Warning {
		return fmt.Errorf("%s: %s", result, output)
	}
	return err
}
