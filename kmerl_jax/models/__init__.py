"""Pure Flax Linen modules; they open no file and no network."""
