package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	"github.com/virtual-kubelet/virtual-kubelet/node/nodeutil"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

var errNotOffered = errors.New("this node does not offer that")

// provider has the pods of a node.
type provider struct {
	client  kubernetes.Interface
	listers nodeutil.ProviderConfig
	name    string
	address string
	prefix  string
	state   string
	images  string
	network *network
	notify  func(*v1.Pod)

	mu   sync.Mutex
	last int
	pods map[string]*pod
}

func (p *provider) find(namespace, name string) (*pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found, ok := p.pods[namespace+"/"+name]; ok {
		return found, nil
	}
	return nil, errdefs.NotFoundf("there is no pod %s/%s", namespace, name)
}

// NotifyPods is told once how status is reported.
func (p *provider) NotifyPods(_ context.Context, notify func(*v1.Pod)) { p.notify = notify }

// CreatePod starts a pod.
func (p *provider) CreatePod(_ context.Context, spec *v1.Pod) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	ip := fmt.Sprintf("%s.%d", p.prefix, p.last)
	if p.last > 250 {
		return errors.New("this node has no more addresses")
	}
	made := newPod(p, spec, ip)
	p.pods[spec.Namespace+"/"+spec.Name] = made
	go made.run()
	return nil
}

// UpdatePod takes note of what has changed.
func (p *provider) UpdatePod(_ context.Context, spec *v1.Pod) error {
	found, err := p.find(spec.Namespace, spec.Name)
	if err == nil {
		found.mu.Lock()
		found.spec = spec
		found.mu.Unlock()
	}
	return err
}

// DeletePod begins to end a pod, within its grace period.
func (p *provider) DeletePod(_ context.Context, spec *v1.Pod) error {
	found, err := p.find(spec.Namespace, spec.Name)
	if err != nil {
		return err
	}
	var grace time.Duration
	if spec.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*spec.DeletionGracePeriodSeconds) * time.Second
	}
	found.end(grace)
	return nil
}

// forget removes a pod that has ended.
func (p *provider) forget(gone *pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := gone.spec.Namespace + "/" + gone.spec.Name
	if p.pods[key] == gone {
		delete(p.pods, key)
	}
}

// GetPod returns a pod as it was given, with its status.
func (p *provider) GetPod(_ context.Context, namespace, name string) (*v1.Pod, error) {
	found, err := p.find(namespace, name)
	if err != nil {
		return nil, err
	}
	return found.withStatus(), nil
}

// GetPodStatus returns the status of a pod.
func (p *provider) GetPodStatus(ctx context.Context, namespace, name string) (*v1.PodStatus, error) {
	found, err := p.GetPod(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return &found.Status, nil
}

// GetPods returns all pods.
func (p *provider) GetPods(context.Context) ([]*v1.Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*v1.Pod
	for _, one := range p.pods {
		all = append(all, one.withStatus())
	}
	return all, nil
}

// GetContainerLogs returns what a container has written, all of it.
func (p *provider) GetContainerLogs(_ context.Context, namespace, pod, container string, _ api.ContainerLogOpts) (io.ReadCloser, error) {
	found, err := p.find(namespace, pod)
	if err != nil {
		return nil, err
	}
	return os.Open(found.log(container))
}

// RunInContainer is not offered.
func (*provider) RunInContainer(context.Context, string, string, string, []string, api.AttachIO) error {
	return errNotOffered
}

// AttachToContainer is not offered.
func (*provider) AttachToContainer(context.Context, string, string, string, api.AttachIO) error {
	return errNotOffered
}

// GetStatsSummary is not offered.
func (*provider) GetStatsSummary(context.Context) (*statsv1alpha1.Summary, error) {
	return nil, errNotOffered
}

// GetMetricsResource is not offered.
func (*provider) GetMetricsResource(context.Context) ([]*dto.MetricFamily, error) {
	return nil, errNotOffered
}

// PortForward is not offered.
func (*provider) PortForward(context.Context, string, string, int32, io.ReadWriteCloser) error {
	return errNotOffered
}
