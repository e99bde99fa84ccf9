"""Transforms: functions that build a target model and plan its weights; each returns a `WeightMap` to apply."""
