"""From packets to pictures: latents, rendering, random access and puppeteering; no face detection, no media."""
