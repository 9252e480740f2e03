#!/bin/sh
# Between the lock and the gate: a phone that is quick.
for _ in 1 2 3 4 5 6 7 8; do
	echo token | ip netns exec phone /run/busybox nc -u -w 1 203.0.113.254 9 || :
done
ip netns exec internet nft list counter inet early got | grep -o 'packets [0-9]*' >/run/early
