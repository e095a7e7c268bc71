"""How fast the program is, beside what the machine can do and what others do on it."""
