"""The processes of one run: where each stands, how they find each other, and what they do when one is lost."""
