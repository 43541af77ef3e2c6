"""Protocol ``equivariance``: how a representation changes when its image is transformed, measured without training."""
