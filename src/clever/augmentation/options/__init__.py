"""Options of views and perturbations, one file per kind; none of them imports torch."""
