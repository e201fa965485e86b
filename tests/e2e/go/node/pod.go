package main

import (
	"context"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How often what is missing is looked for, and volumes are brought up to date. A kubelet takes up to a minute and more.
const lookAgain = time.Second

// pod is a running pod.
type pod struct {
	provider *provider
	ip       string
	network  *os.File
	folder   string
	started  metav1.Time

	ending   chan struct{} // closed when the pod is to end
	overdue  chan struct{} // closed when its grace period is over
	watching context.Context
	unwatch  context.CancelFunc

	mu          sync.Mutex
	spec        *v1.Pod
	deadline    time.Time
	timer       *time.Timer
	over        bool
	phase       v1.PodPhase
	initialized bool
	states      map[string]*v1.ContainerStatus
	conditions  map[v1.PodConditionType]v1.PodCondition
}

func newPod(provider *provider, spec *v1.Pod, ip string) *pod {
	made := &pod{
		provider:   provider,
		ip:         ip,
		folder:     filepath.Join(provider.state, string(spec.UID)),
		started:    metav1.Now(),
		ending:     make(chan struct{}),
		overdue:    make(chan struct{}),
		spec:       spec,
		phase:      v1.PodPending,
		states:     map[string]*v1.ContainerStatus{},
		conditions: map[v1.PodConditionType]v1.PodCondition{},
	}
	made.watching, made.unwatch = context.WithCancel(context.Background())
	for _, container := range append(append([]v1.Container{}, spec.Spec.InitContainers...), spec.Spec.Containers...) {
		no := false
		made.states[container.Name] = &v1.ContainerStatus{
			Name: container.Name, Image: container.Image, Started: &no,
			State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}
	}
	return made
}

// run does all that becomes of a pod.
func (p *pod) run() {
	p.report()
	finished := p.work()
	p.unwatch()
	p.mu.Lock()
	deleted := !p.deadline.IsZero()
	if finished {
		p.phase = v1.PodSucceeded
	} else {
		p.phase = v1.PodFailed
	}
	p.mu.Unlock()
	p.report()
	if !deleted {
		<-p.ending
	}
	p.release()
}

// release says that nothing of a pod runs any more, as a kubelet does: that is what removes it.
func (p *pod) release() {
	none := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &none, Preconditions: metav1.NewUIDPreconditions(string(p.spec.UID))}
	_ = p.provider.client.CoreV1().Pods(p.spec.Namespace).Delete(context.Background(), p.spec.Name, options)
	// Whoever wants to know what became of a pod finds its logs where those of its node are.
	for name := range p.states {
		_ = os.Rename(p.log(name), filepath.Join(p.provider.state, p.spec.Name+"."+name+".log"))
	}
	if err := os.RemoveAll(p.folder); err != nil {
		log.Printf("The folder of pod %s stays: %v", p.spec.Name, err)
	}
	if p.network != nil {
		_ = p.network.Close()
	}
	p.provider.forget(p)
}

// log returns where the output of a container is.
func (p *pod) log(container string) string { return filepath.Join(p.folder, container+".log") }

// work runs the containers. Returns whether all of them ended well.
func (p *pod) work() bool {
	connected := p.until("", func() (err error) {
		p.network, err = connect(p.ip, p.provider.address)
		return err
	})
	if !connected || !p.until("", p.writeVolumes) {
		return false
	}
	go p.followVolumes()
	for index := range p.spec.Spec.InitContainers {
		container := &p.spec.Spec.InitContainers[index]
		if container.RestartPolicy != nil {
			p.wait(container.Name, "NotSupported", "this node has no init containers that go on")
			<-p.ending
			return false
		}
		policy := p.spec.Spec.RestartPolicy
		if policy == v1.RestartPolicyAlways {
			policy = v1.RestartPolicyOnFailure
		}
		if !p.runContainer(container, policy) {
			return false
		}
	}
	p.mu.Lock()
	p.initialized = true
	p.mu.Unlock()
	p.report()
	var group sync.WaitGroup
	well := true
	for index := range p.spec.Spec.Containers {
		group.Add(1)
		go func() {
			defer group.Done()
			if !p.runContainer(&p.spec.Spec.Containers[index], p.spec.Spec.RestartPolicy) {
				p.mu.Lock()
				well = false
				p.mu.Unlock()
			}
		}()
	}
	group.Wait()
	return well
}

// until tries something until it works. Returns false if the pod is to end before.
func (p *pod) until(container string, try func() error) bool {
	for {
		err := try()
		if err == nil {
			return true
		}
		p.wait(container, "CreateContainerConfigError", err.Error())
		select {
		case <-time.After(lookAgain):
		case <-p.ending:
			return false
		}
	}
}

// wait tells why a container, or all of them, do not run.
func (p *pod) wait(container, reason, message string) {
	p.mu.Lock()
	for name, state := range p.states {
		if container == "" || name == container {
			state.Ready = false
			state.State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
		}
	}
	p.mu.Unlock()
	p.report()
}

// end has the containers end within a grace period, or sooner than was said before.
func (p *pod) end(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	deadline := time.Now().Add(grace)
	first := p.deadline.IsZero()
	if !first && deadline.After(p.deadline) {
		return
	}
	p.deadline = deadline
	if first {
		close(p.ending)
		p.timer = time.AfterFunc(grace, func() { close(p.overdue) })
	} else if p.timer.Stop() {
		p.timer = time.AfterFunc(grace, func() { close(p.overdue) })
	}
}

// change changes the status of a container, and reports it.
func (p *pod) change(container string, change func(*v1.ContainerStatus)) {
	p.mu.Lock()
	change(p.states[container])
	p.mu.Unlock()
	p.report()
}

// report tells Kubernetes the status.
func (p *pod) report() { p.provider.notify(p.withStatus()) }

func (p *pod) withStatus() *v1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.spec.DeepCopy()
	now := metav1.Now()
	ready := true
	var inits, mains []v1.ContainerStatus
	for _, container := range p.spec.Spec.InitContainers {
		inits = append(inits, *p.states[container.Name].DeepCopy())
	}
	for _, container := range p.spec.Spec.Containers {
		state := p.states[container.Name].DeepCopy()
		if state.State.Running != nil && p.phase == v1.PodPending {
			p.phase = v1.PodRunning
		}
		ready = ready && state.Ready
		mains = append(mains, *state)
	}
	is := func(kind v1.PodConditionType, yes bool) {
		status := v1.ConditionFalse
		if yes {
			status = v1.ConditionTrue
		}
		if before, ok := p.conditions[kind]; !ok || before.Status != status {
			p.conditions[kind] = v1.PodCondition{Type: kind, Status: status, LastTransitionTime: now}
		}
	}
	is(v1.PodScheduled, true)
	is(v1.PodReadyToStartContainers, true)
	is(v1.PodInitialized, p.initialized)
	is(v1.ContainersReady, ready)
	is(v1.PodReady, ready)
	told.Status = v1.PodStatus{
		Phase: p.phase, PodIP: p.ip, PodIPs: []v1.PodIP{{IP: p.ip}}, HostIP: p.provider.address,
		HostIPs: []v1.HostIP{{IP: p.provider.address}}, StartTime: &p.started, QOSClass: p.spec.Status.QOSClass,
		InitContainerStatuses: inits, ContainerStatuses: mains,
	}
	for _, kind := range []v1.PodConditionType{
		v1.PodScheduled, v1.PodReadyToStartContainers, v1.PodInitialized, v1.ContainersReady, v1.PodReady,
	} {
		told.Status.Conditions = append(told.Status.Conditions, p.conditions[kind])
	}
	// What others say of it stays, such as that it is evicted.
	if known, err := p.provider.listers.Pods.Pods(p.spec.Namespace).Get(p.spec.Name); err == nil && known.UID == p.spec.UID {
		for _, condition := range known.Status.Conditions {
			if _, own := p.conditions[condition.Type]; !own {
				told.Status.Conditions = append(told.Status.Conditions, condition)
			}
		}
		told.Labels, told.Annotations, told.Finalizers = known.Labels, known.Annotations, known.Finalizers
		told.DeletionTimestamp, told.DeletionGracePeriodSeconds = known.DeletionTimestamp, known.DeletionGracePeriodSeconds
	}
	return told
}

// lastLines returns the end of a log, as much as the status of a pod may tell.
func lastLines(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	tail := strings.Join(lines[max(0, len(lines)-80):], "\n")
	return tail[max(0, len(tail)-2048):]
}
