"""What jobs leave behind and what is read from it: run ids, run descriptions, records and curves. Needs no torch."""
