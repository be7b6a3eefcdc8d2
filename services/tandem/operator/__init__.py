"""The operator: what the Kubernetes resources want, against what is, and the actions between. Its handlers are in operators/."""
