"""A real Kubernetes for the tests: its programs, a control plane, and one node in a network namespace of its own.

The folder is not called after Kubernetes: as a package on the tests' path it would hide the client library of that name.
"""
