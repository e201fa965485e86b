#!/bin/sh
# Runs a command with a network, mounts and processes of its own, of which nothing is left when it ends. The addresses of
# Services, and those of nodes and of what is outside of the cluster, belong to its loopback. Pods have networks of their
# own, between which packets are forwarded. Kubernetes allows no addresses of 127.0.0.0/8.
exec unshare --user --map-root-user --net --mount --pid --fork --kill-child --mount-proc sh -euc '
	ip link set lo up
	ip route add local 10.96.0.0/16 dev lo
	ip route add local 10.64.254.0/23 dev lo
	echo 1 > /proc/sys/net/ipv4/ip_forward
	exec "$@"
' sh "$@"
