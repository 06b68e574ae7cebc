"""What other tools take from here: a module for each of them, which imports that tool only where it is used."""
