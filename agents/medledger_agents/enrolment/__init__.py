"""Putting a box into service, and finding out what ails it: `medledger agent setup` and `medledger agent doctor`."""
