#!/bin/sh
# A box with two wires, before its network comes up: a phone at the one, an internet at the other. And a box that would
# forward: somebody has configured it so. What of the phone's gets out before anybody decides, a counter tells.
set -eu
# One by one, as rules ask for them, each is a question to the host through QEMU's share.
modprobe -a veth bridge nfnetlink_queue nft_queue nft_ct nft_flow_offload nf_flow_table_inet nft_masq nft_chain_nat \
	nft_reject_inet nft_log nfnetlink_log nft_limit nft_redir nft_fib_inet nf_conntrack_netlink
ip link set lo up
for side in phone internet; do
	ip netns add $side
	ip -n $side link set lo up
done
ip link add phone0 type veth peer name eth0 netns phone
ip link add wan0 type veth peer name eth0 netns internet
ip -n phone addr add 10.77.0.99/24 dev eth0
ip -n phone link set eth0 up
ip -n phone route add default via 10.77.0.1
ip -n internet addr add 203.0.113.254/24 dev eth0
ip -n internet link set eth0 up
ip -n internet route add 10.77.0.0/24 via 203.0.113.1
ip netns exec internet nft -f - <<'END'
table inet early {
	counter got { }
	chain in { type filter hook prerouting priority -300; ip saddr { 10.77.0.0/24, 203.0.113.1 } udp dport 9 counter name got; }
}
END
ip addr add 203.0.113.1/24 dev wan0
ip link set wan0 up
ip route add default via 203.0.113.254
ip addr add 10.77.0.1/24 dev phone0
ip link set phone0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
