"""The work itself, one file per kind of object."""
