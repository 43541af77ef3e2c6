"""Video object segmentation: the first frame's labels carried through a sequence by a frozen backbone's features."""
