"""What tfxfer promises in seconds and bytes, measured side by side. `make bench` runs all and writes the results."""
