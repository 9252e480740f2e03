"""What the owner sees: a Textual client of the gateway's control socket."""
