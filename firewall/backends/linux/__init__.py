"""The gate in the Linux kernel: nftables decides, NFQUEUE asks, conntrack remembers, a policy rule keeps it closed."""
