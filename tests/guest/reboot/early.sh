#!/bin/bash
# Between the lock and the gate: a phone that is quick.
ip netns exec phone bash -c 'for _ in {1..20}; do echo token >/dev/udp/203.0.113.254/9; sleep .1; done'
ip netns exec internet nft list counter inet early got | grep -o 'packets [0-9]*' >/run/early
