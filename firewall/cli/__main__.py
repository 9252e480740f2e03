"""`python -m firewall.cli`."""

from firewall.cli import main

main(prog_name="consentry")
