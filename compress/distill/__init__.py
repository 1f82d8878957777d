"""Distillation: a student learns the teacher's cached targets on replayable views."""
