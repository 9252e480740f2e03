"""What the owner wants: rules, services and the one function that decides. Pure, but for store.py."""
