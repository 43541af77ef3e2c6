"""Unsupervised saliency: finds the patches of an image's object from a frozen backbone's features alone."""
