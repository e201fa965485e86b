"""The chart on a real control plane, and a node whose pods are processes of this machine."""
