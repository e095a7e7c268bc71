"""The paper's tables again: the runs that they need, their scores with paired intervals, and pages."""
