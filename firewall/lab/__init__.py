"""A phone, a gateway and an internet in closed network namespaces: the demo, and everyone's test bench."""
