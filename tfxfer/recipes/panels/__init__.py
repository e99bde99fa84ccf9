"""Panels of the report, built from plain data: no module here imports a model, an arm or TensorFlow."""
