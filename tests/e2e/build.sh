#!/bin/sh
# Builds the cluster and the Go client's load into .cache/e2e. At first it takes some ten minutes of a core; then nothing.
set -eu
cd "$(dirname "$0")"
programs=../../../.cache/e2e
mkdir -p ../../.cache/e2e
version=$(go -C go list -m -f '{{.Version}}' k8s.io/kubernetes)
# It does not know its own version otherwise, which the chart asks for.
known="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1
	-X k8s.io/component-base/version.gitMinor=$(echo "$version" | cut -d. -f2)"
go -C go build -trimpath -ldflags "-s -w $known" -o "$programs/" ./etcd ./kube-apiserver ./kube-controller-manager \
	./kube-scheduler ./node
go -C client build -trimpath -o "$programs/load" .
