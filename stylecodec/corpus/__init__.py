"""Many clips at once: found, encoded by workers on one machine or a Ray cluster, recorded in a manifest.

    sources ─► clips ─┬► (people: describe, group, fit one identity each) ─┬► encode ─► clips/*.stc, manifest
                      └────────────────────────────────────────────────────┘

One loop (dispatch.py) gives tasks to workers, which are processes (local.py) or actors of a cluster (ray_cluster.py).
"""
