"""Options of the baselines, one file per method; torch is not needed to read them."""
