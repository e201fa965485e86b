package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	domain = "svc.cluster.local"
	// As CoreDNS has it in clusters.
	timeToLive = 5
	dialing    = 5 * time.Second
	// Whence connections to Services are forwarded, so that they can be told from those that nobody forwards.
	forwarder = "10.64.255.9"
)

// network stands in for kube-proxy and for the cluster's DNS: it forwards connections to the addresses of Services, and
// resolves their names.
type network struct {
	address  string
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister

	mu        sync.Mutex
	listeners map[string]net.Listener
}

// startNetwork serves both as long as the process runs.
func startNetwork(ctx context.Context, client kubernetes.Interface, address string) (*network, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	made := &network{
		address: address, services: services.Lister(), slices: slices.Lister(), listeners: map[string]net.Listener{},
	}
	_, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { made.listen() },
		UpdateFunc: func(any, any) { made.listen() },
		DeleteFunc: func(any) { made.listen() },
	})
	if err != nil {
		return nil, err
	}
	slices.Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return made, made.serveNames()
}

// resolver returns the resolv.conf of pods of a namespace.
func (n *network) resolver(namespace string) string {
	return fmt.Sprintf("search %s.%s %s cluster.local\nnameserver %s\noptions ndots:5\n", namespace, domain, domain, n.address)
}

// links returns the variables that Services put into the environment of pods that ask for that.
func (n *network) links(namespace string) map[string]string {
	result := map[string]string{}
	found, err := n.services.Services(namespace).List(labels.Everything())
	if err != nil {
		return result
	}
	for _, service := range found {
		if service.Spec.ClusterIP == v1.ClusterIPNone || len(service.Spec.Ports) == 0 {
			continue
		}
		name := strings.ToUpper(strings.ReplaceAll(service.Name, "-", "_"))
		port := strconv.Itoa(int(service.Spec.Ports[0].Port))
		result[name+"_SERVICE_HOST"], result[name+"_SERVICE_PORT"] = service.Spec.ClusterIP, port
		result[name+"_PORT"] = "tcp://" + net.JoinHostPort(service.Spec.ClusterIP, port)
	}
	return result
}

// endpoint is where a port of a Service is served.
type endpoint struct {
	ip   string
	port int
}

// endpoints returns where a port of a Service is served: by those that are ready, and by those that end and still serve.
func (n *network) endpoints(namespace, service, port string) (ready, serving []endpoint) {
	selector := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service})
	slices, err := n.slices.EndpointSlices(namespace).List(selector)
	if err != nil {
		return nil, nil
	}
	for _, slice := range slices {
		for _, offered := range slice.Ports {
			if port != "" && (offered.Name == nil || *offered.Name != port) || offered.Port == nil {
				continue
			}
			for _, one := range slice.Endpoints {
				for _, ip := range one.Addresses {
					if one.Conditions.Ready == nil || *one.Conditions.Ready {
						ready = append(ready, endpoint{ip, int(*offered.Port)})
					} else if one.Conditions.Serving != nil && *one.Conditions.Serving {
						serving = append(serving, endpoint{ip, int(*offered.Port)})
					}
				}
			}
		}
	}
	return ready, serving
}

// listen listens at the addresses of all Services, and no more at those that are gone.
func (n *network) listen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	found, err := n.services.List(labels.Everything())
	if err != nil {
		return
	}
	wanted := map[string]bool{}
	for _, service := range found {
		if service.Spec.ClusterIP == v1.ClusterIPNone || service.Spec.ClusterIP == "" {
			continue
		}
		for _, port := range service.Spec.Ports {
			address := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
			if port.Protocol != v1.ProtocolTCP {
				continue
			}
			wanted[address] = true
			if n.listeners[address] != nil {
				continue
			}
			listener, err := net.Listen("tcp", address)
			if err != nil {
				log.Printf("The Service %s cannot be served: %v", service.Name, err)
				continue
			}
			n.listeners[address] = listener
			go n.accept(listener, service.Namespace, service.Name, port.Name)
		}
	}
	for address, listener := range n.listeners {
		if !wanted[address] {
			_ = listener.Close()
			delete(n.listeners, address)
		}
	}
}

func (n *network) accept(listener net.Listener, namespace, service, port string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go n.forward(connection, namespace, service, port)
	}
}

// forward connects to one of the endpoints by chance, as kube-proxy does: if none is ready, to one that still serves. Once it
// is connected, a connection stays where it is.
func (n *network) forward(connection net.Conn, namespace, service, port string) {
	defer connection.Close()
	offered, serving := n.endpoints(namespace, service, port)
	if len(offered) == 0 {
		offered = serving
	}
	if len(offered) == 0 {
		return
	}
	chosen := offered[rand.Intn(len(offered))]
	dialer := net.Dialer{Timeout: dialing, LocalAddr: &net.TCPAddr{IP: net.ParseIP(forwarder)}}
	target, err := dialer.Dial("tcp", net.JoinHostPort(chosen.ip, strconv.Itoa(chosen.port)))
	if err != nil {
		return
	}
	defer target.Close()
	there := make(chan struct{})
	go func() {
		defer close(there)
		_, _ = io.Copy(target, connection)
		_ = target.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(connection, target)
	_ = connection.(*net.TCPConn).CloseWrite()
	<-there
}

// resolve returns the addresses of a name, and whether it is one of a Service.
func (n *network) resolve(name string) ([]string, bool) {
	inside, found := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(name, ".")), "."+domain)
	parts := strings.Split(inside, ".")
	if !found || len(parts) != 2 {
		return nil, false
	}
	service, err := n.services.Services(parts[1]).Get(parts[0])
	if err != nil {
		return nil, false
	}
	if service.Spec.ClusterIP != v1.ClusterIPNone {
		return []string{service.Spec.ClusterIP}, true
	}
	port := ""
	if len(service.Spec.Ports) > 0 {
		port = service.Spec.Ports[0].Name
	}
	var addresses []string
	ready, _ := n.endpoints(parts[1], parts[0], port)
	for _, one := range ready {
		addresses = append(addresses, one.ip)
	}
	return addresses, true
}

// serveNames answers questions for names of Services. There are no others.
func (n *network) serveNames() error {
	socket, err := net.ListenPacket("udp", net.JoinHostPort(n.address, "53"))
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			length, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := n.answer(buffer[:length]); err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	return nil
}

func (n *network) answer(question []byte) ([]byte, error) {
	var asked dnsmessage.Message
	if err := asked.Unpack(question); err != nil {
		return nil, err
	}
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: asked.ID, Response: true, Authoritative: true, RecursionDesired: asked.RecursionDesired},
		Questions: asked.Questions,
	}
	for _, one := range asked.Questions {
		addresses, known := n.resolve(one.Name.String())
		if !known {
			answer.RCode = dnsmessage.RCodeNameError
		}
		if one.Type != dnsmessage.TypeA {
			continue
		}
		for _, address := range addresses {
			var ip [4]byte
			copy(ip[:], net.ParseIP(address).To4())
			answer.Answers = append(answer.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: one.Name, Class: dnsmessage.ClassINET, TTL: timeToLive},
				Body:   &dnsmessage.AResource{A: ip},
			})
		}
	}
	return answer.Pack()
}
