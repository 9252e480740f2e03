"""What is seen and done: a pure middle (gateway, flow, names, dissect) in a thin shell (engine, backends, resolver)."""
