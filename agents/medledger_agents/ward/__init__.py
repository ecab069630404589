"""The ward at a glance: which bed, which values, how old, in which state. `medledger ward`."""
