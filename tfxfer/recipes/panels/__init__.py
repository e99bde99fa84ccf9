"""What a recipe adds to the report beside its scores."""
