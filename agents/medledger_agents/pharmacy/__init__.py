"""The pharmacy agent: scans at the counter are checked, refused or supplied, and logged."""
