"""What is declared, and what follows from it: manifests, and later gates, plans and Kubernetes objects. Pure."""
