"""Unsupervised saliency: which patches of an image are the object, from a frozen backbone's features alone."""
