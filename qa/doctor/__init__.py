"""Judges the host: boots the built-in guest, and tells what is missing and how to get it."""
