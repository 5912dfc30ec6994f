"""A typed client of the GenerationService."""
