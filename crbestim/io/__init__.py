"""Volumes as files: coefficient images in, parameter maps and a report out."""
