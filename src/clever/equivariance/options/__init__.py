"""Options of the equivariance add-ons, one file per method; torch is not needed to read them."""
