"""Protocol ``equivariance``: the change of a representation when its image is transformed, measured without
training."""
