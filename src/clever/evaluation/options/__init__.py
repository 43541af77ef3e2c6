"""Options of the protocols, one file per protocol and per set of shared ones. Importing them needs no torch."""
