#!/bin/sh
# Pin this module to one Kubernetes release: `./pin-kubernetes.sh v1.37.2 v3.7.0`.
#
# The published go.mod of k8s.io/kubernetes asks for v0.0.0 of every staging module and replaces it by a
# path of its own tree, which no importer has. So each needs a replace line here; they are read from the
# release itself instead of being kept by hand.
set -eu
cd "$(dirname "$0")"
kubernetes=${1:?usage: pin-kubernetes.sh KUBERNETES_VERSION ETCD_VERSION}
etcd=${2:?usage: pin-kubernetes.sh KUBERNETES_VERSION ETCD_VERSION}
staging=v0${kubernetes#v1}

upstream=$(cd / && go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^.*"GoMod": "\(.*\)",*$/\1/p')
{
  echo "module tridentserve.io/controlplane"
  echo
  grep '^go ' "$upstream"
  echo
  grep '^godebug ' "$upstream"
  echo
  echo "require ("
  echo "	go.etcd.io/etcd/server/v3 $etcd"
  echo "	k8s.io/kubernetes $kubernetes"
  echo ")"
  echo
  echo "// Written by pin-kubernetes.sh."
  echo "replace ("
  sed -n 's|^[[:space:]]*\(k8s\.io/[^ ]*\) => \./staging.*$|	\1 => \1 '"$staging"'|p' "$upstream"
  echo ")"
} > go.mod
go mod tidy
