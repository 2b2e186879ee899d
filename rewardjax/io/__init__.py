"""Files on disks, in buckets and on the hub, and what may be in their place."""
