"""`python -m tui --socket PATH [--lab]`: the command line starts the screen as a program of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tui.app import main

parser = argparse.ArgumentParser(prog="python -m tui", description="The screen of a Consentry gateway.")
parser.add_argument("--socket", type=Path, required=True, help="the gateway's control socket")
parser.add_argument("--lab", action="store_true", help="whoever started this ends the lab with it")
arguments = parser.parse_args()
sys.exit(main(arguments.socket, lab=arguments.lab))
