"""Disk images: probing, overlays, catalogue, download, cache, recipes and the cloud-init seed."""
