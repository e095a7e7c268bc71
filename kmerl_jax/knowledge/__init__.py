"""What reports say: statements, ontology, the grammar extractor, entities and labels."""
