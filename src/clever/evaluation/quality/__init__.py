"""Protocol ``quality``: measures of a representation that are meant to predict its use without a classifier."""
