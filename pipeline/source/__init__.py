"""What is delivered: the service's folder, its package.json, its commit."""
