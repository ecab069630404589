"""The auditor's box: a full replica that writes nothing, on a laptop or on a server that is always there."""
