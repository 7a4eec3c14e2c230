"""The objects of the API, one per file: fields, documentation, one call into a stage."""
