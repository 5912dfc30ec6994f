"""The DiffusionPipeline resource as typed models: the edge where YAML turns into domain values."""
