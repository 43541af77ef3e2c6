"""Protocol ``quality``: measures of a representation that are meant to predict its usefulness without a classifier."""
