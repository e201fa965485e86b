// A node of Kubernetes whose pods are processes of this machine.
//
// The library virtual-kubelet watches pods and writes their status; what a kubelet does besides is here, mostly by the
// kubelet's own packages. It also stands in for kube-proxy and for the cluster's DNS. It must run where all addresses of
// pods and Services are local: see enter.sh.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node"
	"github.com/virtual-kubelet/virtual-kubelet/node/nodeutil"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
)

// image is what a container image says of itself.
type image struct {
	Entrypoint []string          `json:"entrypoint"`
	Command    []string          `json:"command"`
	Env        map[string]string `json:"env"`
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "container" {
		log.Fatalf("The container cannot be started: %v", enter(os.Args[2]))
	}
	kubeconfig := flag.String("kubeconfig", "", "how the API server is reached")
	names := flag.String("nodes", "node-1,node-2", "the names of the nodes")
	state := flag.String("state", "", "the folder for volumes and logs")
	imagesFile := flag.String("images", "", "a JSON file with images by name, read whenever a container starts")
	dns := flag.String("dns", "10.96.0.10", "the address of the name server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	check(err)
	network, err := startNetwork(ctx, client, *dns)
	check(err)
	for index, name := range strings.Split(*names, ",") {
		run(ctx, client, &provider{
			client:  client,
			name:    name,
			address: fmt.Sprintf("10.64.255.%d", 10+index),
			prefix:  fmt.Sprintf("10.64.%d", index),
			state:   filepath.Join(*state, name),
			images:  *imagesFile,
			network: network,
			pods:    map[string]*pod{},
		})
	}
	fmt.Println("ready")
	<-ctx.Done()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// run registers a node, and waits until it is ready.
func run(ctx context.Context, client kubernetes.Interface, provider *provider) {
	certificate, key, err := cert.GenerateSelfSignedCertKey(provider.name, nil, []string{provider.address})
	check(err)
	pair, err := tls.X509KeyPair(certificate, key)
	check(err)
	mux := http.NewServeMux()
	made, err := nodeutil.NewNode(provider.name, func(config nodeutil.ProviderConfig) (nodeutil.Provider, node.NodeProvider, error) {
		provider.listers = config
		capacity := v1.ResourceList{
			v1.ResourceCPU:    resource.MustParse("16"),
			v1.ResourceMemory: resource.MustParse("64Gi"),
			v1.ResourcePods:   resource.MustParse("110"),
		}
		config.Node.Labels[v1.LabelHostname] = provider.name
		config.Node.Labels[v1.LabelOSStable] = "linux"
		config.Node.Labels[v1.LabelTopologyZone] = "zone-" + provider.name
		config.Node.Status.Capacity, config.Node.Status.Allocatable = capacity, capacity
		config.Node.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: provider.address}}
		config.Node.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
		return provider, nil, nil
	}, nodeutil.WithClient(client), nodeutil.AttachProviderRoutes(mux), func(config *nodeutil.NodeConfig) error {
		config.SkipDownwardAPIResolution = true
		config.NumWorkers = 10
		config.HTTPListenAddr = provider.address + ":10250"
		config.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
		config.Handler = mux
		return nil
	})
	check(err)
	go func() {
		if err := made.Run(ctx); err != nil && ctx.Err() == nil {
			log.Fatal(err)
		}
	}()
	check(made.WaitReady(ctx, time.Minute))
}

// image returns an image that can be had, and nothing for others.
func (p *provider) image(name string) (*image, error) {
	text, err := os.ReadFile(p.images)
	if err != nil {
		return nil, err
	}
	var images map[string]*image
	if err := json.Unmarshal(text, &images); err != nil {
		return nil, err
	}
	return images[name], nil
}
