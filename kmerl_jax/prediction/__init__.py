"""Using a model: findings of recordings, embeddings, where it looked, pictures."""
