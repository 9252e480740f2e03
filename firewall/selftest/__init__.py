"""`consentry selftest`: is the gate real? A probe joins like a phone that nobody has named, and tries to get out.

tries.py says what is tried, made of packets.py and hellos.py; probe.py is the phone; witness.py watches the way to the
internet; verdict.py judges. session.py does it all in turn, strikes.py hurts the gate meanwhile.
"""
