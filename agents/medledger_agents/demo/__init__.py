"""The demonstration: `medledger demo`."""
