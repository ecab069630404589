"""What other software of this kind does with the same work, installed by name when it is measured, never shipped."""
