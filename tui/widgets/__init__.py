"""One widget a file. None of them knows the app: what they show is given to them."""
