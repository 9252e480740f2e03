"""The box's network: what `consentry setup` decides, and the keeper that keeps it standing beside the gateway."""
