"""Frozen machines: templates, restore points, and the store that keeps them."""
