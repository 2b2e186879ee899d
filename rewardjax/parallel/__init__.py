"""Devices and processes: the mesh and its layouts, and joining a job of several hosts."""
