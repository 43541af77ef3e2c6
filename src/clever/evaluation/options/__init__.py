"""Options of the protocols, one file per protocol and per shared base; none of them imports torch."""
