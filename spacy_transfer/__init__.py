"""Transfer learning for sequence tagging where labels are scarce, as a spaCy component."""
