"""The `tridentserve` command; its sub-commands are found through entry points."""
