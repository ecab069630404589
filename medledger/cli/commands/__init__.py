"""The commands of `medledger`, one file a group; `root.COMMANDS` names them."""
