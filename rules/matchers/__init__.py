"""The terms of the rule language, one file each."""
