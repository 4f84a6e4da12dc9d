"""Intake's YAML files: those of this machine as Intake opens them, others without running what they say."""
