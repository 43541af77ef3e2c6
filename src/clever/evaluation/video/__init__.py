"""Video object segmentation: propagates the first frame's labels through a sequence with a frozen backbone's
features."""
