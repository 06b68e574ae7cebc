"""Keeps the store and Ray in step.

`decide` is pure: a job, what Ray says of it, the time -> what to do. `loop` reads both, decides and does.
"""
