#!/bin/sh
# Builds the cluster, the Go client's load and an earlier version into .cache/e2e. At first it takes some ten minutes of a
# core; then nothing.
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

# The version that runs beside this one, by its commit. 0.1.0, the only release so far, has no claims to share. This one
# knows neither accounts nor clusters, and packs claims with fewer places. After a release it is that of the release.
earlier=7765433d35f728f36aa76afc326112d72563b733
folder=../../.cache/e2e/previous
if [ "$(cat $folder/commit 2>/dev/null)" != $earlier ]; then
	git cat-file -e $earlier 2>/dev/null || {
		echo "The commit $earlier is missing: fetch the whole history (git fetch --unshallow)" >&2
		exit 1
	}
	rm -rf $folder && mkdir -p $folder/source
	git -C ../.. archive $earlier | tar -x -C $folder/source
	../../.venv/bin/python -m venv $folder/venv
	pip="$folder/venv/bin/pip --disable-pip-version-check --quiet install"
	# With the packages that it was locked to, as in its image.
	$pip --require-hashes -r $folder/source/requirements.lock
	$pip --no-deps --no-build-isolation $folder/source/clients/python $folder/source
	echo $earlier > $folder/commit
fi
